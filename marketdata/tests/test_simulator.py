"""The simulated market against scipy: what it claims about itself must show in its numbers, whatever the pieces."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from marketdata import calendars
from marketdata.series import BarSeries
from marketdata.sources.base import Asked, SourceRefusedError
from marketdata.sources.simulated_market import BLOCK_SECONDS, Market
from marketdata.sources.simulated_rules import InstrumentRules, MarketRules
from marketdata.sources.simulated_ticks import MICROSECOND, Tape
from marketdata.sources.simulator import SimulatorSource
from marketdata.ticks.series import QUOTE, TRADE, TickBatch

MONDAY = datetime(2024, 3, 4, tzinfo=UTC)
YEAR_START = int(datetime(2020, 1, 2, tzinfo=UTC).timestamp())


def rules(symbol="AAA", **values):
    return InstrumentRules(symbol, **values)


def path(market: Market, one: InstrumentRules, *others: InstrumentRules):
    return market.path(one, {other.symbol: other for other in others})


class Clock:
    """A clock that only moves when somebody sleeps."""

    def __init__(self, start: datetime) -> None:
        self.seconds = start.timestamp()

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def asked(symbol="AAA", interval=60, start=MONDAY, end=None, **options):
    return Asked(symbol, interval, start=start, end=end, options=options)


def whole(parts) -> BarSeries:
    series = [part.series for part in parts]
    names = ("time", "open", "high", "low", "close", "volume")
    return BarSeries(*(np.concatenate([getattr(one, name) for one in series]) for name in names))


def history(*, now=None, **values) -> BarSeries:
    source = SimulatorSource(now=Clock(now or datetime(2024, 6, 1, tzinfo=UTC)).now)
    return whole(source.history(asked(**values)))


def same(first: BarSeries, second: BarSeries) -> bool:
    return first.fingerprint() == second.fingerprint()


# Pieces


def test_the_same_seed_is_the_same_series_in_any_pieces():
    end = MONDAY + timedelta(days=3)
    once = history(end=end, calendar="XNYS", seed=3)
    cuts = [MONDAY, MONDAY + timedelta(hours=15, minutes=7), MONDAY + timedelta(days=1, hours=17), end]
    pieces = [
        history(start=first, end=last - timedelta(seconds=1), calendar="XNYS", seed=3) for first, last in pairwise(cuts)
    ]
    names = ("time", "open", "high", "low", "close", "volume")
    joined = BarSeries(*(np.concatenate([getattr(piece, name) for piece in pieces]) for name in names))
    assert len(once) == 3 * 390 and same(once, joined)
    assert not same(once, history(end=end, calendar="XNYS", seed=4))


@pytest.mark.parametrize("interval", [1, 60, 3600, 86_400])
def test_long_histories_come_in_parts_without_seams(interval):
    # Ticks so dense that every session is a part of its own.
    source = SimulatorSource(now=Clock(datetime(2024, 6, 1, tzinfo=UTC)).now)
    end = MONDAY + timedelta(days=2, hours=0 if interval == 86_400 else 23)
    question = asked(interval=interval, end=end, calendar="XNYS", ticks_per_second=20)
    parts = list(source.history(question))
    series = whole(parts)
    sessions = calendars.sessions("XNYS", date(2024, 3, 4), date(2024, 3, 6))
    assert len(parts) == 3 and [round(part.done, 3) for part in parts] == [0.333, 0.667, 1.0]
    if interval == 86_400:
        assert series.time.tolist() == sessions.day.tolist()
    else:
        # A whole number of bars from the one that holds 9:30 to the one before 16:00.
        expected = sum(
            -(-close // interval) - open_ // interval
            for open_, close in zip(sessions.opens.tolist(), sessions.closes.tolist(), strict=True)
        )
        assert len(series) == expected


def test_live_continues_history_exactly():
    clock = Clock(MONDAY + timedelta(hours=10))
    source = SimulatorSource(now=clock.now, sleep=clock.sleep)
    before = whole(source.history(asked()))
    feed = source.live([asked(start=MONDAY + timedelta(hours=10))])
    live = []
    while clock.seconds < (MONDAY + timedelta(hours=10, minutes=30)).timestamp():
        live += [update.bars["AAA"] for update in [next(feed)] if update.bars]
    clock.seconds = (MONDAY + timedelta(hours=10, minutes=30)).timestamp()
    together = BarSeries(
        *(
            np.concatenate([getattr(piece, name) for piece in [before, *live]])
            for name in ("time", "open", "high", "low", "close", "volume")
        )
    )
    assert len(together) == 630 and same(together, whole(source.history(asked())))


def test_live_ticks_make_the_bars_of_the_history():
    clock = Clock(MONDAY)
    source = SimulatorSource(now=clock.now, sleep=clock.sleep)
    feed = source.live([asked(ticks=True)])
    batches = []
    while clock.seconds < MONDAY.timestamp() + 121:
        batches += [update.ticks["AAA"] for update in [next(feed)] if update.ticks]
    trades = [
        (int(time) // MICROSECOND // 60 * 60, price, size)
        for batch in batches
        for time, kind, price, size in zip(batch.time, batch.kind, batch.price, batch.size, strict=True)
        if kind == TRADE
    ]
    # Grouped by hand, trade by trade, instead of by the simulator's own arrays.
    series = whole(source.history(asked()))
    for row, start in enumerate(series.time.tolist()):
        prices = [price for begin, price, _ in trades if begin == start]
        bar = (series.open[row], series.high[row], series.low[row], series.close[row], series.volume[row])
        assert bar == (
            prices[0], max(prices), min(prices), prices[-1], sum(size for begin, _, size in trades if begin == start)
        )  # fmt: skip
    assert len(series) == 2


def test_coarser_bars_are_made_of_the_same_trades():
    minutes = history(end=MONDAY + timedelta(hours=23, minutes=59))
    (day,) = history(interval=86_400, end=MONDAY).close
    hours = history(interval=3600, end=MONDAY + timedelta(hours=23))
    assert (len(minutes), len(hours)) == (1440, 24)
    np.testing.assert_array_equal(hours.high, minutes.high.reshape(24, 60).max(axis=1))
    np.testing.assert_allclose(hours.volume, minutes.volume.reshape(24, 60).sum(axis=1))
    assert day == minutes.close[-1] == hours.close[-1]


def test_ticks_asked_in_pieces_are_the_ticks_asked_at_once():
    tape = Tape(path(Market(MarketRules()), rules()))
    start = int(MONDAY.timestamp()) * MICROSECOND
    once = tape.ticks(start, start + 5000 * MICROSECOND)
    edges = [0, 17_300_001, 1_800_000_000, 1_800_000_003, 5_000_000_000]
    pieces = [tape.ticks(start + first, start + last) for first, last in pairwise(edges)]
    for name in TickBatch.__dataclass_fields__:
        np.testing.assert_array_equal(
            np.concatenate([getattr(piece, name) for piece in pieces]), getattr(once, name), err_msg=name
        )
    assert (np.diff(once.time) >= 0).all() and len(set(once.sequence[once.kind == TRADE].tolist())) > 4000


# Sessions


def test_nothing_is_traded_while_the_market_is_closed():
    # 2024-07-03 is a half day in New York, 2024-07-04 a holiday: 210 + 0 + 390 minutes.
    source_end = datetime(2024, 7, 6, tzinfo=UTC)
    series = history(start=datetime(2024, 7, 3, tzinfo=UTC), end=source_end, now=source_end, calendar="XNYS")
    assert len(series) == 600
    assert not calendars.outside("XNYS", series.time, 60).any()


def test_a_lunch_break_is_kept():
    series = history(end=MONDAY + timedelta(days=1), calendar="XHKG")
    # Hong Kong trades 9:30 to 12:00 and 13:00 to 16:00.
    assert len(series) == 330 and not calendars.outside("XHKG", series.time, 60).any()


def test_only_closed_bars_are_shown():
    middle = MONDAY + timedelta(hours=15, minutes=30, seconds=30)
    assert (
        history(now=middle, calendar="XNYS", seed=1).time[-1] == (MONDAY + timedelta(hours=15, minutes=29)).timestamp()
    )
    assert MONDAY.timestamp() not in history(now=middle, interval=86_400, start=MONDAY - timedelta(days=9)).time


# Numbers


def minutes_returns(market: Market, one: InstrumentRules, n_sessions: int) -> np.ndarray:
    market.numbers(0, YEAR_START + n_sessions * 86_400)
    return np.concatenate([np.diff(np.log(path(market, one).mids(n))) for n in range(n_sessions)])


@pytest.mark.parametrize("state", [0, 1, 2])
def test_realised_volatility_is_that_of_the_regime(state):
    market = Market(MarketRules(seed=5, jumps=0, shape=1.0, drift=0.0))
    market.numbers(0, YEAR_START + 60 * 86_400)
    one = rules(volatility=0.3)
    steps = []
    for number in range(60):
        logs = np.log(path(market, one).mids(number))
        moved = np.diff(logs[::BLOCK_SECONDS])
        steps += moved[market.session(number).states == state].tolist()
    # A half hour of a year that is always open; 366 days from 2020-01-01 on and one more in the first reading.
    years = BLOCK_SECONDS / (367 * 86_400)
    expected = 0.3 * (0.6, 1.0, 2.2)[state] * np.sqrt(years)
    n = len(steps)
    assert n > 300
    low, high = stats.chi2.ppf([0.0005, 0.9995], n) / n
    assert low < np.mean(np.square(steps)) / expected**2 < high
    assert stats.kstest(np.array(steps) / expected, "norm").pvalue > 0.001


def test_regimes_last_as_long_as_they_should():
    market = Market(MarketRules(seed=2, stay=0.9))
    market.numbers(0, YEAR_START + 300 * 86_400)
    states = np.concatenate([market.session(n).states for n in range(300)])
    stays = int((np.diff(states) == 0).sum())
    assert stats.binomtest(stays, len(states) - 1, 0.9).pvalue > 0.001
    assert set(np.abs(np.diff(states))) == {0, 1}, "calm does not turn into storm at once"
    # Moving to neighbours, the middle regime is left twice as often as each end is: a quarter, a half, a quarter.
    np.testing.assert_allclose(np.bincount(states) / len(states), [0.25, 0.5, 0.25], atol=0.03)


def daily_returns(market: Market, one: InstrumentRules, n: int, *others: InstrumentRules) -> np.ndarray:
    market.numbers(0, YEAR_START + 2 * n * 86_400)
    closes = np.array([path(market, one, *others).ends(number)[1] for number in range(n)])
    return closes[1:] / closes[:-1] - 1


def inside_fisher(found: float, expected: float, n: int) -> bool:
    """Whether a correlation of n pairs lies within 3.5 standard errors, by Fisher's transformation."""
    return abs(np.arctanh(found) - np.arctanh(expected)) < 3.5 / np.sqrt(n - 3)


def test_correlations_are_those_of_the_matrix_by_day_and_by_second():
    matrix = ((1.0, 0.8, -0.3), (0.8, 1.0, 0.1), (-0.3, 0.1, 1.0))
    market = Market(MarketRules(seed=9, jumps=0, regimes=(1.0,), correlated=("A", "B", "C"), correlation=matrix))
    all_rules = [rules(symbol, volatility=0.2 + 0.1 * n) for n, symbol in enumerate("ABC")]
    days = np.corrcoef([np.log1p(daily_returns(market, one, 1500)) for one in all_rules])
    seconds = np.corrcoef([minutes_returns(market, one, 1) for one in all_rules])
    for row, column in [(0, 1), (0, 2), (1, 2)]:
        assert inside_fisher(days[row, column], matrix[row][column], 1499)
        assert inside_fisher(seconds[row, column], matrix[row][column], 86_400)


def test_without_a_matrix_instruments_share_the_market():
    market = Market(MarketRules(seed=4, jumps=0, regimes=(1.0,), market_volatility=0.2))
    half = daily_returns(market, rules("A", market_correlation=0.5), 1500)
    # A beta of 1.2 at a volatility of 0.3: correlated 1.2 * 0.2 / 0.3 = 0.8 with the market.
    high = daily_returns(market, rules("B", beta=1.2, volatility=0.3), 1500)
    # Both through the market only: 0.5 * 0.8.
    assert inside_fisher(float(np.corrcoef(half, high)[0, 1]), 0.4, 1499)


def test_an_instrument_is_the_same_alone_and_in_company():
    alone = history(end=MONDAY + timedelta(hours=1), seed=8)
    clock = Clock(MONDAY + timedelta(hours=1, minutes=1))
    source = SimulatorSource(now=clock.now, sleep=clock.sleep)
    update = next(source.live([asked("BBB", seed=8), asked(seed=8)]))
    assert same(update.bars["AAA"], alone) and not same(update.bars["BBB"], alone)


def test_the_daily_returns_are_normal_with_the_volatility_of_a_year():
    market = Market(MarketRules(seed=11, jumps=0, regimes=(1.0,), drift=0.0, calendar="XNYS"))
    returns = np.log1p(daily_returns(market, rules(volatility=0.32), 1200))
    n_year = market.n_year
    assert 250 <= n_year <= 256
    scaled = (returns + 0.32**2 / 2 / n_year) / (0.32 / np.sqrt(n_year))
    assert stats.kstest(scaled, "norm").pvalue > 0.001
    assert abs(scaled.std() - 1) < 0.07


def test_a_fifth_of_the_variance_is_in_the_overnight_gaps():
    market = Market(MarketRules(seed=12, jumps=0, regimes=(1.0,), drift=0.0, calendar="XNYS", overnight=0.2))
    market.numbers(0, YEAR_START + 1500 * 86_400)
    ends = np.log([path(market, rules()).ends(number) for number in range(900)])
    gaps, inside = ends[1:, 0] - ends[:-1, 1], ends[1:, 1] - ends[1:, 0]
    # The ratio of two sample variances of 899 normals each has an F distribution.
    ratio = gaps.var() / inside.var() / (0.2 / 0.8)
    low, high = stats.f.ppf([0.001, 0.999], 898, 898)
    assert low < ratio < high
    assert Market(MarketRules(calendar="24/7")).overnight == 0.0, "a market that never closes has no gaps"


def test_jumps_come_as_often_and_as_large_as_they_should():
    market = Market(MarketRules(seed=6, jumps=0.3, jump_size=0.05))
    market.numbers(0, YEAR_START + 900 * 86_400)
    sizes = [size for number in range(800) for size in path(market, rules()).jumps(number)[1]]
    low, high = stats.poisson.ppf([0.0005, 0.9995], 0.3 * 800)
    assert low <= len(sizes) <= high
    assert stats.kstest(np.array(sizes) / 0.05, "norm").pvalue > 0.001


def test_a_jump_is_in_the_prices_where_it_should_be():
    quiet = {"volatility": 0.0, "market_correlation": 0.5}
    market = Market(MarketRules(seed=6, jumps=1.0, drift=0.0))
    found = path(market, rules(**quiet))
    number = next(n for n in range(50) if found.jumps(n)[0].size == 1)
    (second,), (size,) = found.jumps(number)
    steps = np.diff(np.log(found.mids(number)))
    assert np.flatnonzero(np.abs(steps) > 1e-12).tolist() == [second]
    assert steps[second] == pytest.approx(size)


def test_trades_follow_a_u_over_the_day():
    market = Market(MarketRules(seed=7, calendar="XNYS", shape=3.0))
    numbers = market.numbers(int(MONDAY.timestamp()), int(MONDAY.timestamp()) + 30 * 86_400)[:20]
    tape = Tape(path(market, rules(ticks_per_second=0.5)))
    counted = np.zeros(13)
    for number in numbers:
        session = market.session(number)
        if session.n_seconds != 23_400:
            continue
        for block in range(13):
            counted[block] += tape._trades(session, block)[0].size
    # Activity 1 + 2(2x-1)² integrated over the thirteenths of a day; its antiderivative is x + (2x-1)³/3.
    edges = np.linspace(0, 1, 14)
    share = np.diff(edges + (2 * edges - 1) ** 3 / 3)
    assert stats.chisquare(counted, share / share.sum() * counted.sum()).pvalue > 0.001
    assert counted[0] > 2 * counted[6] < counted[12]


def test_trades_per_second_and_sizes_are_as_asked():
    tape = Tape(path(Market(MarketRules()), rules(ticks_per_second=2.0, size=50.0)))
    start = int(MONDAY.timestamp()) * MICROSECOND
    batch = tape.ticks(start, start + 86_400 * MICROSECOND)
    sizes = batch.size[batch.kind == TRADE]
    assert stats.poisson.ppf(0.0005, 172_800) < sizes.size < stats.poisson.ppf(0.9995, 172_800)
    # A geometric number of mean 50 has variance 50² - 50.
    assert abs(sizes.mean() - 50) < 4 * np.sqrt(2450 / sizes.size)


@pytest.mark.parametrize(("step", "spread"), [(0.01, 0.5), (0.25, 1.0), (0.05, 40.0), (0.0001, 0.0)])
def test_bid_and_ask_are_whole_steps_at_least_one_apart(step, spread):
    tape = Tape(path(Market(MarketRules()), rules(start_price=20.0, tick_size=step, spread_bps=spread)))
    start = int(MONDAY.timestamp()) * MICROSECOND
    batch = tape.ticks(start, start + 3600 * MICROSECOND)
    quotes, trades = batch.kind == QUOTE, batch.kind == TRADE
    width = batch.ask[quotes] - batch.bid[quotes]
    assert (width >= step * (1 - 1e-9)).all() and (batch.bid[quotes] > 0).all()
    assert (width >= batch.bid[quotes] * spread / 10_000 * (1 - 1e-9)).all()
    for prices in (batch.bid[quotes], batch.ask[quotes], batch.price[trades]):
        np.testing.assert_allclose(prices / step, np.round(prices / step), atol=1e-6)
    assert np.isnan(batch.price[quotes]).all() and np.isnan(batch.bid[trades]).all()


def test_a_leveraged_fund_multiplies_each_day():
    market = Market(MarketRules(seed=3, calendar="XNYS"))
    under, fund = rules("AAA"), rules("BULL", leverage_of="AAA", leverage=3.0)
    plain = daily_returns(market, under, 300)
    tripled = daily_returns(market, fund, 300, under)
    np.testing.assert_allclose(tripled, 3 * plain, rtol=1e-9, atol=1e-12)
    assert (path(market, fund, under).mids(7)[[0, -1]] == path(market, fund, under).ends(7)).all()


# Pace and options


def test_ten_times_faster_than_the_clock_without_the_hours_when_it_is_closed():
    clock = Clock(datetime(2024, 6, 1, tzinfo=UTC))
    source = SimulatorSource(now=clock.now, sleep=clock.sleep)
    feed = source.live([asked(start=MONDAY, calendar="XNYS", speed=10)])
    began, times = clock.seconds, []
    while clock.seconds < began + 39 * 60 + 30:  # 390 minutes at ten times the speed, and five of the next session
        times += [time for update in [next(feed)] if update.bars for time in update.bars["AAA"].time]
    assert len(times) in (394, 395), "390 minutes of Monday and then at once those of Tuesday"


def test_as_fast_as_it_can_but_never_ahead_of_the_clock():
    clock = Clock(MONDAY + timedelta(hours=3))
    source = SimulatorSource(now=clock.now, sleep=clock.sleep)
    feed = source.live([asked(speed=0)])
    n, began = 0, clock.seconds
    while clock.seconds == began:
        n += sum(len(series) for series in next(feed).bars.values())
    assert n == 180, "three hours at once"
    while clock.seconds < began + 121:
        n += sum(len(series) for series in next(feed).bars.values())
    assert n == 182, "then with the clock"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sped": 3}, "no option sped; it knows begins, beta"),
        ({"volatility": -1}, "volatility is -1: expected 0 to 10"),
        ({"volatility": "high"}, "volatility is 'high'"),
        ({"seed": None}, "seed is None"),
        ({"regimes": []}, "regimes are empty"),
        ({"begins": "soon"}, "begins is 'soon': give a date"),
        ({"begins": "2999-01-01"}, "give a date from 1990-01-01 until today"),
        ({"beta": 3, "volatility": 0.1}, "a beta of 3 needs a volatility of at least 0.48"),
        ({"correlated": ["AAA", "B"], "correlation": [[1, 2]]}, "correlation is"),
        ({"correlated": ["AAA", "B"], "correlation": [[1, 0.5]]}, "expected 2 rows and columns"),
        ({"correlated": ["AAA", "B"], "correlation": [[1, 1], [1, 1]]}, "cannot be"),
        ({"instruments": {"AAA": {"leverage_of": "AAA"}}}, "must multiply an instrument that multiplies none"),
        ({"instruments": {"AAA": {"colour": 1}}}, "AAA has no option colour"),
        ({"calendar": "MOON"}, "no trading calendar 'MOON'"),
    ],
)
def test_wrong_options_are_refused_in_words(options, message):
    with pytest.raises(SourceRefusedError, match=message):
        list(SimulatorSource().history(asked(**options)))


def test_lengths_that_do_not_divide_a_day_are_refused():
    with pytest.raises(SourceRefusedError, match="no bars of 7 seconds"):
        list(SimulatorSource().history(asked(interval=7)))


def test_search_finds_whatever_is_asked_for():
    (found,) = SimulatorSource().search(" sim1 ")
    assert (found.symbol, found.calendar) == ("SIM1", "24/7")
    assert SimulatorSource().search("  ") == []
