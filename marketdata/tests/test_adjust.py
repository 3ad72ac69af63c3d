import numpy as np
import pytest

from marketdata.adjust import adjust_bars
from marketdata.csv_import import parse_bars
from marketdata.demo_sources import DemoDataMissing, stock_csv
from marketdata.series import BarSeries
from marketdata.tests import shared_data

DAY = 86_400


def make(close, opens=None, volume=100.0):
    close = np.asarray(close, dtype=float)
    opens = close if opens is None else np.asarray(opens, dtype=float)
    high, low = np.maximum(opens, close) * 1.1, np.minimum(opens, close) * 0.9
    return BarSeries(np.arange(close.size) * DAY, opens, high, low, close, np.full(close.size, volume))


def test_a_split_halves_the_earlier_prices_and_doubles_the_earlier_volume():
    bars = make([100.0, 102.0, 51.0, 52.0])
    adjusted = adjust_bars(bars, np.array([50.0, 51.0, 51.0, 52.0]))
    np.testing.assert_allclose(adjusted.series.close, [50, 51, 51, 52])
    np.testing.assert_allclose(adjusted.series.volume, [200, 200, 100, 100])
    np.testing.assert_allclose(adjusted.series.high / adjusted.series.low, bars.high / bars.low)
    assert [(a.kind, a.ratio, a.date) for a in adjusted.actions] == [("split", 2.0, "1970-01-03")]


def test_a_reverse_split_raises_the_earlier_prices_and_divides_the_earlier_volume():
    adjusted = adjust_bars(make([1.0, 1.02, 10.1, 10.2]), np.array([10.0, 10.2, 10.1, 10.2]))
    np.testing.assert_allclose(adjusted.series.close, [10, 10.2, 10.1, 10.2])
    np.testing.assert_allclose(adjusted.series.volume, [10, 10, 100, 100])
    assert adjusted.actions[0].ratio == pytest.approx(0.1)


def test_a_dividend_moves_prices_but_not_volume():
    # Dividend 1.00 on a previous close of 50: factor before it is 1 - 1/50 = 0.98
    adjusted = adjust_bars(make([50.0, 50.0, 49.0]), np.array([49.0, 49.0, 49.0]))
    np.testing.assert_allclose(adjusted.series.close, [49, 49, 49])
    np.testing.assert_allclose(adjusted.series.volume, 100)
    (action,) = adjusted.actions
    assert action.kind == "dividend" and action.amount == pytest.approx(1.0)


def test_the_other_way_of_counting_a_dividend():
    # Quandl: step 1 + 1.00 / 49 on the day the price is 49
    close = np.array([50.0, 50.0, 49.0])
    adjusted = adjust_bars(make(close), close / np.array([50 / 49, 50 / 49, 1.0]), dividend_base="close")
    assert adjusted.actions[0].amount == pytest.approx(1.0)


def test_a_large_special_dividend_is_not_taken_for_a_split():
    # 3.00 of 29.97 is a step of 1.11; 10:9 is no usual split ratio
    adjusted = adjust_bars(make([29.97, 29.97, 26.97]), np.array([26.97, 26.97, 26.97]))
    assert [a.kind for a in adjusted.actions] == ["dividend"]
    assert adjusted.actions[0].amount == pytest.approx(3.0)


def test_a_step_of_two_that_the_traded_price_does_not_show_is_not_a_split():
    adjusted = adjust_bars(make([100.0, 100.0, 100.0, 100.0]), np.array([50.0, 50.0, 100.0, 100.0]))
    assert [a.kind for a in adjusted.actions] == ["dividend"]
    np.testing.assert_allclose(adjusted.series.volume, 100)


def test_a_step_down_that_is_no_split_is_called_unexplained():
    adjusted = adjust_bars(make([100.0, 100.0, 100.0]), np.array([101.0, 101.0, 100.0]))
    assert [a.kind for a in adjusted.actions] == ["unexplained"]


def test_rounding_to_cents_is_not_mistaken_for_dividends():
    generator = np.random.default_rng(5)
    close = np.round(20 * np.exp(np.cumsum(generator.normal(0, 0.01, 500))), 2)
    adjusted = adjust_bars(make(close), np.round(close * 0.2137, 2))
    assert adjusted.actions == []


def test_events_after_the_file_do_not_shrink_prices():
    bars = make([130.0, 131.0])
    np.testing.assert_allclose(adjust_bars(bars, bars.close / 28).series.close, bars.close)


def test_no_bars_and_wrong_input():
    assert adjust_bars(BarSeries.empty(), np.empty(0)).actions == []
    for wrong in (np.ones(3), np.array([1.0, 0.0]), np.array([1.0, np.nan])):
        with pytest.raises(ValueError, match="pass one adjusted close per bar"):
            adjust_bars(make([1.0, 2.0]), wrong)


def demo_stock(symbol):
    try:
        parsed = parse_bars(stock_csv(symbol), with_adjusted=True)
    except DemoDataMissing as missing:
        pytest.skip(str(missing))
    assert parsed.adj_close is not None
    return parsed, adjust_bars(parsed.series, parsed.adj_close, dividend_base="close")


@pytest.mark.parametrize(
    ("symbol", "splits", "n_dividends"),
    [
        ("AAPL", [("2000-06-21", 2.0), ("2005-02-28", 2.0)], 3),
        ("MSFT", [("2003-02-18", 2.0)], 37),
        ("IBM", [], 52),  # 13 years of four
        ("GOOG", [], 0),
        ("FB", [], 0),
    ],
)
def test_the_known_splits_of_the_demo_stocks_are_found(symbol, splits, n_dividends):
    parsed, adjusted = demo_stock(symbol)
    assert parsed.n_bad == 0
    assert [(a.date, a.ratio) for a in adjusted.actions if a.kind == "split"] == splits
    assert sum(a.kind == "dividend" for a in adjusted.actions) == n_dividends
    assert not [a for a in adjusted.actions if a.kind == "unexplained"]


def test_the_known_dividends_of_microsoft_and_apple_are_found_to_the_cent():
    amounts = {a.date: round(a.amount, 6) for a in demo_stock("MSFT")[1].actions if a.kind == "dividend"}
    # 2004-11-15: three dollars special and eight cents regular on one day
    assert amounts["2003-02-19"] == 0.08 and amounts["2004-11-15"] == 3.08 and amounts["2012-11-13"] == 0.23
    apple = [round(a.amount, 6) for a in demo_stock("AAPL")[1].actions if a.kind == "dividend"]
    assert apple == [2.65, 2.65, 2.65]


def test_adjusted_apple_agrees_with_an_independent_series():
    _, adjusted = demo_stock("AAPL")
    other = shared_data.daily("AAPL").reindex(adjusted.series.time)
    assert not other["close"].isna().any()
    ours = adjusted.series.close[1:] / adjusted.series.close[:-1] - 1
    theirs = other["adj_close"].to_numpy()[1:] / other["adj_close"].to_numpy()[:-1] - 1
    difference = np.abs(ours - theirs)
    # Two vendors: a few closes differ for real (2003-01-29 by 2 %), early adjusted prices below a dollar are rounded.
    assert np.quantile(difference, 0.9) < 2e-5 and np.quantile(difference, 0.99) < 5e-4
    assert (difference > 5e-4).sum() < 20 and difference.max() < 0.025
    # The other series counts the 7:1 split of 2014 and the 4:1 split of 2020 too: 28 times the shares on every day.
    ratio = other["volume"].to_numpy() / adjusted.series.volume
    assert np.median(ratio) == pytest.approx(28.0, rel=1e-3)
    assert (np.abs(ratio / 28 - 1) < 0.01).mean() > 0.99
