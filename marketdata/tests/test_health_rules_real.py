"""The rules on real files with known oddities; skipped where the reference data is not next to the checkout."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from marketdata.health_finding import Split
from marketdata.health_prices import Extremes
from marketdata.health_rules import examine
from marketdata.series import BarSeries
from marketdata.tests.health_series import about, scaled
from marketdata.tests.shared_data import bars, daily, need

DAY = 86_400
ETFS = "minute/etf_1min_201912_202001.parquet"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def minute(name: str, symbol: str) -> BarSeries:
    frame = pd.read_parquet(need(name))
    frame = frame[frame["symbol"] == symbol]
    frame["time"] = (frame["timestamp"] - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(seconds=1)
    return bars(frame.set_index("time"))


def found(series: BarSeries, interval_seconds: int = 60, **values: object) -> dict:
    return {one.kind: one for one in examine(series, about(series, interval_seconds, **values))}


def test_extended_hours_are_a_note_and_regular_hours_complete():
    # 20 sessions of 390 minutes, none missing; the other 14,180 − 7,800 = 6,380 bars lie outside
    findings = found(minute("minute/SPY_1min_201101.parquet", "SPY"))
    assert {kind: (one.n, one.severity) for kind, one in findings.items()} == {"outside_session": (6380, "note")}


def test_the_session_with_only_90_bars_blocks():
    findings = found(minute(ETFS, "SPY"))
    gap = findings.pop("gaps")
    # 10 January 2020: 90 bars of 390, so 300 are missing from 11:00 in New York on
    assert (gap.severity, gap.n, gap.examples[0]) == (
        "blocking", 1, {"time": "2020-01-10T16:00:00+00:00", "found": "300 bars"},
    )  # fmt: skip
    # one bar of the half day begins at its close, 13:00 in New York; it is one of the 23 without volume
    assert findings["outside_session"].examples == [{"time": "2019-12-24T18:00:00+00:00", "found": "Tuesday"}]
    assert (findings["zero_volume"].n, findings["zero_volume"].severity) == (22, "note")


def test_the_gap_of_23_minutes():
    # 1,380 s from bar to bar are 22 bars that are not there
    gap = found(minute(ETFS, "IGV"))["gaps"]
    assert gap.severity == "warning"
    assert "the longest 22 minutes from 2019-12-23 15:55" in gap.detail


def test_complete_sessions_of_stocks_have_nothing_worse_than_a_note():
    for symbol in ("AAPL", "AMZN", "JPM", "SLV", "TSLA", "V"):
        findings = found(minute("minute/stocks_1min_201902.parquet", symbol))
        assert all(one.severity == "note" for one in findings.values()), symbol


@pytest.mark.parametrize("name", ["SPY", "QQQ", "TQQQ"])
def test_years_of_daily_bars_are_sound(name):
    assert found(bars(daily(name)), DAY) == {}


def test_tqqq_as_it_traded_shows_every_split_until_it_is_stored():
    adjusted = bars(daily("TQQQ"))
    # two for one on 2011-02-25, 2012-05-11, 2014-01-24, 2018-01-12, three for one on 2017-01-12
    splits = {"2011-02-25": 2.0, "2012-05-11": 2.0, "2014-01-24": 2.0, "2017-01-12": 3.0, "2018-01-12": 2.0}
    moments = [int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) for day in splits]
    raw = adjusted
    for at, ratio in zip(moments, splits.values(), strict=True):
        raw = scaled(raw, slice(0, int(np.searchsorted(raw.time, at))), ratio)
    one = found(raw, DAY)["split_like"]
    assert (one.n, one.severity) == (5, "blocking")
    assert [example["time"][:10] for example in one.examples] == list(splits)
    stored = [Split(at, ratio, in_prices=False) for at, ratio in zip(moments, splits.values(), strict=True)]
    assert "split_like" not in found(raw, DAY, splits=stored)
    assert found(adjusted, DAY, splits=stored)["split_like"].n == 5, "adjusted bars must not be adjusted again"


def test_panel_of_large_stocks_has_only_its_known_oddities():
    frame = pd.read_parquet(need("daily/panel_us_large_1990_2018.parquet"))
    frame["time"] = (frame["timestamp"] - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(seconds=1)
    seen: dict[tuple[object, str], tuple[str, int]] = {}
    for symbol, rows in frame.groupby("symbol"):
        findings = found(bars(rows.sort_values("time").set_index("time")), DAY)
        seen |= {(symbol, kind): (one.severity, one.n) for kind, one in findings.items()}
    assert seen == {
        ("CSCO", "broken"): ("blocking", 25),  # opens of 0 where prices were rounded away
        ("UNH", "broken"): ("blocking", 58),
        ("PG", "outliers"): ("warning", 1),  # 39.37 in the flash crash of 6 May 2010
        ("HD", "outliers"): ("warning", 1),  # the open of 24 August 2015
        ("PG", "split_like"): ("warning", 1),  # the profit warning of 7 March 2000, near 3:2
    }


def test_the_daily_low_of_3_january_2011_is_below_every_minute():
    series = bars(daily("SPY"))
    minutes = minute("minute/SPY_1min_201101.parquet", "SPY")
    day = minutes.between(1294065000, 1294088340)  # 14:30 to 20:59 UTC on 3 January 2011
    assert len(day) == 390
    known = {1294012800: Extremes(float(day.low.min()), float(day.high.max()), float(day.close[-1]))}
    one = found(series, DAY, shorter=known)["outliers"]
    assert (one.n, one.severity, one.first) == (1, "warning", 1294012800)
    assert "low 125.7," in one.examples[0]["found"]
