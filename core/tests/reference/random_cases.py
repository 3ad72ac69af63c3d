"""Random markets, rules and decisions for comparing the reference with the kernel.

Hypothesis draws one seed and the switches, so that a failing case shrinks to few rules and few bars; numpy draws all
numbers, so that ten thousand cases take minutes. Numbers are drawn from continuous ranges: then no price lies exactly
on a level, no quantity exactly between two lots and no weight exactly on a limit, where the last bit would decide.
"""

from dataclasses import dataclass, fields
from datetime import date, timedelta

import numpy as np
from hypothesis import strategies as st

from core.tests.reference.charges import fees_on
from core.tests.reference.state import Bar, Rules

FIRST_DAY = date(2018, 1, 1)
KINDS = ("choice", "steps", "continuous")


@dataclass(frozen=True, kw_only=True)
class Switches:
    """What a case has; everything off is the simplest case."""

    seed: int
    n_bars: int
    n_instruments: int
    kind: str
    schedule: str
    trail: str
    spread: bool
    impact: bool
    tick: bool
    odd_lots: bool
    multiplier: bool
    leverage: bool
    participation: bool
    short_selling: bool
    band: bool
    stop_loss: bool
    take_profit: bool
    time_stop: bool
    margin_call: bool
    ruin: bool
    interest: bool
    borrow: bool
    settled_daily: bool
    splits: bool
    dividends: bool
    gaps: bool
    no_volume: bool
    odd_prices: bool
    intraday: bool
    often: bool


def switches(n_bars: int = 40) -> st.SearchStrategy[Switches]:
    """Cases of up to so many bars and three instruments."""
    some = {
        "seed": st.integers(0, 2**32 - 1),
        "n_bars": st.integers(2, n_bars),
        "n_instruments": st.integers(1, 3),
        "kind": st.sampled_from(KINDS),
        "schedule": st.sampled_from(("none", "bps", "ibkr_fixed", "ibkr_tiered", "ibkr_futures")),
        "trail": st.sampled_from(("none", "fraction", "atr")),
    }
    return st.builds(Switches, **{field.name: some.get(field.name, st.booleans()) for field in fields(Switches)})


@dataclass(frozen=True)
class Case:
    """bars[t][i], actions[t][i] (None: hold without deciding), one Rules for each instrument."""

    kind: str
    start_cash: float
    rules: list[Rules]
    bars: list[list[Bar]]
    actions: list[list[float]]


def make(on: Switches) -> Case:
    """The case of these switches."""
    random = np.random.default_rng(on.seed)
    number = on.n_instruments
    # Prices of one case lie within a factor of 100, or a position of the cheapest would have 10^9 lots.
    usual = float(10.0 ** random.uniform(-1.0, 5.0)) if on.odd_prices else 100.0
    scales = (usual * 10.0 ** random.uniform(-1.0, 1.0, number)).tolist()
    rules = [rules_of(on, scale, random) for scale in scales]
    columns = [market(on, scale, random) for scale in scales]
    start_cash = float(10.0 ** random.uniform(4, 5.5)) * max(1.0, usual / 100)
    return Case(
        kind=on.kind,
        start_cash=start_cash,
        rules=rules,
        bars=[list(row) for row in zip(*columns, strict=True)],
        actions=actions(on, random),
    )


def rules_of(on: Switches, scale: float, random: np.random.Generator) -> Rules:
    """Numbers for what is switched on; one draw for all, so that a switch changes nothing but its own rule."""
    u = random.random(24).tolist()
    return Rules(
        half_spread_bps=20 * u[0] if on.spread else 0.0,
        impact_bps=300 * u[1] if on.impact else 0.0,
        impact_exponent=2.0 if u[2] < 0.5 else 0.5,
        tick_size=scale * 10 ** (-4 + 3 * u[3]) if on.tick else 0.0,
        lot=(100.0 if u[4] < 0.3 else 0.125) if on.odd_lots else 1.0,
        multiplier=(20.0 if u[5] < 0.5 else 0.5) if on.multiplier else 1.0,
        schedule=on.schedule,
        commission_bps=30 * u[6],
        per_contract=5 * u[7] + 0.01,
        participation=0.2 * u[8] + 1e-4 if on.participation else 0.0,
        max_weight=0.2 + 1.5 * u[9],
        short_selling=on.short_selling,
        no_trade_band=0.3 * u[10] if on.band else 0.0,
        stop_loss=0.08 * u[11] if on.stop_loss else 0.0,
        take_profit=0.08 * u[12] if on.take_profit else 0.0,
        trail_fraction=0.08 * u[13] if on.trail == "fraction" else 0.0,
        trail_atr=4 * u[14] if on.trail == "atr" else 0.0,
        time_stop=int(1 + 8 * u[15]) if on.time_stop else 0,
        borrow_rate=0.3 * u[16] if on.borrow else 0.0,
        settled_daily=on.settled_daily and u[17] < 0.7,
        leverage=0.5 + 4 * u[18] if on.leverage else 1.0,
        margin_call=0.5 + 4 * u[19] if on.margin_call else 0.0,
        ruin_fraction=0.99 * u[20] if on.ruin else 0.0,
        interest_rate=0.2 * u[21] if on.interest else 0.0,
        credit_spread=0.1 * u[22] if on.interest else 0.0,
        debit_spread=0.1 * u[23] if on.interest else 0.0,
        volatility_half_life=1 + 20 * u[2],
        sharpe_rate=0.005 + 0.3 * u[1],
    )


def market(on: Switches, scale: float, random: np.random.Generator) -> list[Bar]:
    """A random walk as traded, splits and dividends in its prices."""
    n = on.n_bars
    volatility = 0.003 + 0.05 * random.random()
    jumps = volatility * random.standard_normal((2, n))
    reach = np.abs(volatility * random.standard_normal((2, n))) * (random.random((2, n)) < 0.8)
    overnight = jumps[0] * (3.0 if on.gaps else 0.1)
    days = session_days(on, random)
    begins = np.diff(days, prepend=days[0]) > 0
    factors = np.where(begins & on.splits & (random.random(n) < 0.15), random.choice(SPLITS, n), 1.0)
    dividends = np.where(begins & on.dividends & (random.random(n) < 0.2), 0.02 * random.random(n), 0.0)
    steps = np.column_stack([overnight + np.log1p(-dividends) - np.log(factors), jumps[1]]).ravel()
    prices = (scale * np.exp(np.cumsum(steps))).reshape(n, 2)
    top, bottom = prices.max(axis=1) * np.exp(reach[0]), prices.min(axis=1) * np.exp(-reach[1])
    volume = 10.0 ** random.uniform(2, 6, n) * (random.random(n) > (0.3 if on.no_volume else 0.0))
    atr = np.where(random.random(n) < 0.1, np.nan, prices[:, 1] * volatility * (0.5 + random.random(n)))
    cash_paid = dividends * prices[:, 0]
    fees = [fees_on(FIRST_DAY + timedelta(days=int(day))) for day in days]
    table = np.column_stack([prices[:, 0], top, bottom, prices[:, 1], volume, atr, days, factors, cash_paid, fees])
    return [Bar(*row) for row in table.tolist()]


SPLITS = np.array([2.0, 7.0, 0.5, 0.25, 1.5, 0.1, 1 / 3])


def session_days(on: Switches, random: np.random.Generator) -> np.ndarray:
    """Ordinals that grow by 1, over weekends by 3, sometimes by more; several bars a session when intraday.

    All instruments of a case share them: the calendar has a seed of its own.
    """
    random = np.random.default_rng(on.seed + 1)
    grow = random.choice([1, 1, 1, 3, 4], on.n_bars)
    if on.intraday:
        grow = grow * (random.random(on.n_bars) < 0.4)
    return 3000 * random.random() // 1 + np.cumsum(grow)


def actions(on: Switches, random: np.random.Generator) -> list[list[float]]:
    """Decisions, mostly holding unless they come often."""
    shape = (on.n_bars, on.n_instruments)
    acts = random.random(shape) < (0.9 if on.often else 0.3)
    if on.kind == "continuous":
        drawn = np.where(random.random(shape) < 0.15, 0.0, random.uniform(-1.5, 1.5, shape))
        return np.where(acts, drawn, np.nan).tolist()
    return np.where(acts, random.integers(0, 3 if on.kind == "choice" else 9, shape), 0).tolist()
