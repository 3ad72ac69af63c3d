import importlib.util

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from core.models import Instrument
from marketdata import demo, demo_sources
from marketdata.csv_import import parse_bars
from marketdata.models import Bar, DataImport
from marketdata.queries import load_bars

DAY = 86_400
installed = all(importlib.util.find_spec(name) for name in ("bokeh_sampledata", "arch"))
needs_demo = pytest.mark.skipif(not installed, reason="the optional demo packages are not installed")


@needs_demo
@pytest.mark.django_db
def test_the_demo_is_imported_once_and_a_second_run_changes_nothing():
    lines: list[str] = []
    demo.import_demo(lines.append)
    counts = {i.symbol: len(load_bars(i.pk, DAY)) for i in Instrument.objects.all()}
    assert counts == {
        "AAPL": 3270, "MSFT": 3270, "IBM": 3270, "GOOG": 2148, "FB": 196,
        "SPX": 5031, "IXIC": 5031, "VIX": 1259, "NDX3X": 5031,
    }  # fmt: skip
    assert lines[0] == "AAPL: 3,270 bars, 2000-03-01 to 2013-03-01, adjusted for 2 splits and 3 dividends"
    assert not DataImport.objects.filter(n_bad__gt=0).exists()
    ids = list(Bar.objects.order_by("id").values_list("id", flat=True))
    lines.clear()
    demo.import_demo(lines.append)
    assert all(line.endswith("already imported") for line in lines) and len(lines) == 9
    assert list(Bar.objects.order_by("id").values_list("id", flat=True)) == ids


@needs_demo
def test_the_vix_has_every_session_of_the_index_in_its_years():
    index, vix = parse_bars(demo_sources.index_csv("nasdaq")).series, parse_bars(demo_sources.vix_csv()).series
    assert set(index.between(vix.time[0], vix.time[-1]).time) == set(vix.until(index.time[-1]).time)


@needs_demo
@pytest.mark.django_db
def test_the_constructed_fund_says_what_it_is_and_follows_its_index():
    demo.import_demo(lambda line: None)
    fund = Instrument.objects.get(symbol="NDX3X")
    assert fund.constructed and not fund.has_volume and fund.leverage_factor == 3
    assert fund.underlying and fund.underlying.symbol == "IXIC" and fund.underlying.asset_class == "index"
    assert "2% a year of financing" in fund.construction and "0.95% a year" in fund.construction
    index, bars = load_bars(fund.underlying.pk, DAY), load_bars(fund.pk, DAY)
    np.testing.assert_array_equal(index.time, bars.time)
    of_index, of_fund = (series.close[1:] / series.close[:-1] - 1 for series in (index, bars))
    slope, offset = np.polyfit(of_index, of_fund, 1)
    assert slope == pytest.approx(3.0, abs=1e-3)
    # Per bar: 365.25 / 251.7 = 1.45 days of 2 * 0.02 / 360 + 0.0095 / 365
    assert offset == pytest.approx(-1.45 * (0.04 / 360 + 0.0095 / 365), rel=0.02)
    # One tick of a cent stays below a tenth of a percent even at the bottom of March 2009.
    assert bars.low.min() > 10.0


@needs_demo
@pytest.mark.django_db
def test_an_instrument_with_bars_from_elsewhere_is_left_alone():
    apple = Instrument.objects.create(symbol="AAPL", name="My Apple", asset_class="stock")
    DataImport.objects.create(instrument=apple, name="mine.csv", source="csv", sha256="0" * 64, n_good=1)
    lines: list[str] = []
    demo.import_demo(lines.append)
    assert lines[0] == "AAPL: left alone, it has bars from elsewhere"
    assert len(load_bars(apple.pk, DAY)) == 0


@pytest.mark.django_db
def test_without_the_packages_the_command_says_how_to_get_them(monkeypatch):
    monkeypatch.setattr(demo_sources.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CommandError, match=r"is not installed: pip install '\.\[demo\]'"):
        call_command("import_demo")
