import json
import os
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from core.models import Event, Instrument
from marketdata.models import Tick, TickState
from marketdata.queries import load_bars

GOOD = "timestamp,price,size,corr\n1514903400,10,1,0\n1514903401,11,2,0\n1514903461,0,1,0\n1514903462,12,3,1\n"


@pytest.fixture
def stock(db) -> Instrument:
    return Instrument.objects.create(symbol="STK", name="Stock", calendar="24/7")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "ticks.csv"
    path.write_text(GOOD)
    return path


def test_a_file_is_stored_and_the_result_told(stock, path, capsys):
    call_command("import_ticks", "stk", str(path), "--source", "vendor", "--bars", "60,300")
    assert capsys.readouterr().out.splitlines() == [
        "4 rows read",
        "2 ticks stored (0 of them late), 0 repeated, 2 bad, of 4 rows",
        "  1 price is not above 0",
        "  1 corrected by the exchange",
        "1 bars of 60 seconds written",
        "1 bars of 300 seconds written",
        "  row 4: price is not above 0",
        "  row 5: corrected by the exchange",
    ]
    assert list(Tick.objects.values_list("source", flat=True)) == ["vendor"] * 2
    assert load_bars(stock.pk, 300).volume.tolist() == [3]
    assert TickState.objects.get().bad == {"price is not above 0": 1, "corrected by the exchange": 1}
    assert Event.objects.get(kind="ticks.imported").data["n_stored"] == 2


def test_a_second_time_everything_is_repeated(stock, path, capsys):
    call_command("import_ticks", "STK", str(path))
    capsys.readouterr()
    call_command("import_ticks", "STK", str(path), "--json")
    facts = json.loads(capsys.readouterr().out)
    assert (facts["n_stored"], facts["n_repeated"], facts["n_bad"], facts["bars"]) == (0, 2, 2, {})
    assert facts["problems"][0] == {"row": 4, "reason": "price is not above 0"}


def test_a_zone_and_a_symbol_can_be_chosen(stock, tmp_path):
    path = tmp_path / "two.csv"
    path.write_text("time,symbol,price,size\n2018-01-02 09:30:00,A,1,1\n2018-01-02 09:30:01,B,2,1\n")
    call_command("import_ticks", "STK", str(path), "--zone", "America/New_York", "--file-symbol", "B", "--json")
    tick = Tick.objects.get()
    assert (tick.price, tick.time.hour, tick.time.second) == (2, 14, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["NONE", "x.csv"], "no instrument NONE"),
        (["STK", "none.csv"], "no such file"),
        (["STK", "x.csv", "--bars", "7"], "divide a day"),
        (["STK", "x.csv", "--bars", "minute"], "divide a day"),
        (["STK", "x.csv", "--zone", "Mars"], "not a time zone"),
        (["STK", "x.csv", "--source", "a very long source"], "1 to 12"),
        (["STK"], "path"),
    ],
)
def test_wrong_input_is_answered_in_one_line(stock, arguments, words):
    with pytest.raises(CommandError, match=words) as caught:
        call_command("import_ticks", *arguments)
    assert "\n" not in str(caught.value)


def test_a_file_without_a_good_row_fails(stock, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("time,price,size\nnever,1,1\n")
    with pytest.raises(CommandError, match="no good row among 1"):
        call_command("import_ticks", "STK", str(path))
    assert not Event.objects.filter(kind="ticks.imported").exists()


def test_a_file_whose_name_is_no_text_is_imported(stock, tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.csv"))
    path.write_text(GOOD)
    call_command("import_ticks", "STK", str(path))
    assert Event.objects.get(kind="ticks.imported").data["file"] == "?.csv"


def test_an_instrument_with_a_calendar_that_does_not_exist_is_refused_in_one_line(db, path):
    Instrument.objects.create(symbol="ODD", name="Odd", calendar="NOPE")
    with pytest.raises(CommandError, match="there is no trading calendar 'NOPE'"):
        call_command("import_ticks", "ODD", str(path))
    assert not Tick.objects.exists()
