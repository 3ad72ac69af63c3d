import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from core.models import Instrument
from marketdata.models import DataImport

pytestmark = pytest.mark.django_db
HEADER = "date,open,high,low,close,volume\n"


@pytest.fixture
def file(tmp_path):
    bad = "".join(f"2013-02-{day:02},10,8,9,11,5\n" for day in range(1, 26))
    path = tmp_path / "bars.csv"
    path.write_text(HEADER + "2013-01-02,10,12,9,11,5\n2013-01-03,10,12,9,11,5\n" + bad)
    return path


def test_counts_then_bad_rows_then_notes(file, capsys):
    call_command("import_bars", str(file), "--symbol", "abc", "--create", "--name", "A B C", "--tick-size", "0.05")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 good rows imported, 25 bad rows, of 27"
    assert lines[1] == "ABC: 2013-01-02 00:00 to 2013-01-03 00:00 UTC, one bar every 86,400 seconds"
    assert lines[2] == "  row 4: high 8 is below low 9"
    assert lines[22] == "  and 5 more" and len(lines) == 23
    instrument = Instrument.objects.get(symbol="ABC")
    assert instrument.name == "A B C" and float(instrument.tick_size) == 0.05 and instrument.has_volume


def test_json_holds_every_fact(file, capsys):
    call_command("import_bars", str(file), "--symbol", "ABC", "--create", "--json")
    facts = json.loads(capsys.readouterr().out)
    assert (facts["n_good"], facts["n_bad"], facts["symbol"], len(facts["problems"])) == (2, 25, "ABC", 25)
    assert facts["import_id"] == DataImport.objects.get().pk


def test_an_unknown_symbol_is_not_created_by_accident(file):
    with pytest.raises(CommandError, match="no instrument ABC: check the symbol, or add --create"):
        call_command("import_bars", str(file), "--symbol", "ABC")
    assert not Instrument.objects.exists()


def test_no_good_row_ends_with_an_error_and_creates_no_instrument(tmp_path, capsys):
    path = tmp_path / "bad.csv"
    path.write_text(HEADER + "x,1,1,1,1,1\n")
    with pytest.raises(CommandError, match=r"nothing imported: bad\.csv has no good row among 1") as error:
        call_command("import_bars", str(path), "--symbol", "ABC", "--create")
    assert error.value.returncode == 1
    assert "row 2: time cannot be read: 'x'" in capsys.readouterr().out
    assert not Instrument.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.csv", "--symbol", "ABC", "--create"], "none.csv: no such file"),
        (["{file}", "--symbol", "ABC", "--create", "--adjust"], "missing columns: adj_close"),
        (["{file}", "--symbol", "ABC", "--timezone", "Mars/Base"], "'Mars/Base' is not a time zone"),
        (["{file}", "--symbol", "ABC", "--tick-size", "-1"], "-1 is not a price step"),
        (["{file}", "--symbol", "ABC", "--tick-size", "nan"], "nan is not a price step"),
        (["{file}", "--symbol", "ABC", "--interval", "0"], "'0' is not a whole number above 0"),
        (["{file}", "--symbol", " "], "is not a symbol"),
        (["{file}"], "the following arguments are required: --symbol"),
    ],
)
def test_wrong_input_is_answered_in_one_line(file, arguments, message):
    with pytest.raises(CommandError) as error:
        call_command("import_bars", *[text.format(file=file) for text in arguments])
    assert message in str(error.value) and "\n" not in str(error.value)


def test_an_unknown_option_gives_no_traceback():
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "manage.py", "import_bars", "x.csv", "--symbol", "A", "--colour", "red"],
        cwd=root, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "unrecognized arguments: --colour red" in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) <= 2


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        ("2013-01-02,1,1,1,1,1\n", ["--interval", "99999999999"], "the interval is 99,999,999,999 seconds"),
        ("1900-01-02,1,1,1,1,1\n2013-01-02,1,1,1,1,1\n", [], "say how long a bar is"),
        ("2013-01-02,1,1,1,1,1\n", ["--tick-size", "1e30"], "no price step that can be kept"),
        ("2013-01-02,1,1,1,1,1\n", ["--tick-size", "1e-12"], "no price step that can be kept"),
    ],
)
def test_what_the_database_cannot_hold_is_refused_in_one_line(tmp_path, rows, options, words):
    path = tmp_path / "bars.csv"
    path.write_text(HEADER + rows)
    with pytest.raises(CommandError, match=words):
        call_command("import_bars", str(path), "--symbol", "ABC", "--create", *options)
    assert not Instrument.objects.exists()


def test_a_file_whose_name_is_no_text_is_imported(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff.csv"
    Path(os.fsdecode(path)).write_text(HEADER + "2013-01-02,10,12,9,11,5\n")
    call_command("import_bars", os.fsdecode(path), "--symbol", "ABC", "--create")
    assert DataImport.objects.get().name == "?.csv"
