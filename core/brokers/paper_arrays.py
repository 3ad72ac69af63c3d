"""Between ledger rows and the kernel's arrays. One place knows how a position, a bar and a fill are written in them."""

import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from core.closed_bar import ClosedBar
from core.ledger import to_money
from core.models import Instrument, Order, Position
from core.simulation import kernel
from core.simulation.fees import fees_for
from core.simulation.rules import MarketRules

PURPOSES = {
    kernel.REASON_DECISION: Order.Purpose.DECISION,
    kernel.REASON_STOP: Order.Purpose.STOP,
    kernel.REASON_TRAIL: Order.Purpose.TRAIL,
    kernel.REASON_TARGET: Order.Purpose.TARGET,
    kernel.REASON_REST: Order.Purpose.REST,
    kernel.REASON_FORCE: Order.Purpose.FORCE,
}

PROTECTION = [
    kernel.RULE_STOP_LOSS,
    kernel.RULE_TAKE_PROFIT,
    kernel.RULE_TRAIL_FRACTION,
    kernel.RULE_TRAIL_ATR,
]

# What the kernel reads for the whole account from the first instrument's row.
OF_THE_ACCOUNT = [
    kernel.RULE_LEVERAGE,
    kernel.RULE_MARGIN_CALL,
    kernel.RULE_RUIN_FRACTION,
    kernel.RULE_INTEREST_RATE,
    kernel.RULE_CREDIT_SPREAD,
    kernel.RULE_DEBIT_SPREAD,
]


@dataclass(frozen=True)
class Trade:
    """Something that traded in the bar."""

    quantity: float  # signed
    price: float
    commission: float
    slippage: float  # account currency
    purpose: str  # of Order.Purpose


def write_position(row: np.ndarray, position: Position | None, rules: MarketRules, table: np.ndarray) -> float:
    """Write what the ledger holds to the kernel's row; table: (N_RULES,). Returns: the signed quantity.

    Stop and target hang on the average price alone. They are worked out anew: rounded to the ledger's places, they
    would be touched by other bars than the kernel's; and rules that were changed since hold for what is held already.
    """
    if position is None or position.quantity == 0:
        return 0.0
    quantity, average = float(position.quantity), _as_traded(position.average_price, rules.tick_size)
    row[kernel.QUANTITY], row[kernel.AVERAGE_PRICE] = quantity, average
    row[kernel.STOP], row[kernel.TARGET], row[kernel.BEST] = kernel.levels_after_order(
        0.0, quantity, average, math.nan, math.nan, math.nan, table
    )
    if position.best_price not in (None, position.average_price):
        row[kernel.BEST] = float(position.best_price)
    row[kernel.AGE], row[kernel.REST] = float(position.age_bars), float(position.closing)
    row[kernel.FORCED_FLAT] = float(position.forced_flat)
    return quantity


def _as_traded(price: Decimal, tick: float) -> float:
    """A price of the ledger as the float it was traded at: whole ticks times the tick, 57 · 0.01 = 0.5700000000000001.

    The hair decides whether a bar touches a level worked out from it.
    """
    if tick > 0.0:
        traded = round(float(price) / tick) * tick
        if to_money(traded) == price:
            return traded
    return float(price)


def write_bar(before: np.ndarray, now: np.ndarray, position: Position | None, bar: ClosedBar) -> None:
    """The bar before, as far as the kernel looks at it, and this one, in the same session: (N_BAR,) each."""
    held = position is not None and position.quantity != 0
    before[kernel.BAR_CLOSE] = float(position.last_price) if position is not None and held else bar.open
    before[kernel.BAR_ATR] = bar.atr_before
    before[kernel.BAR_SPLIT] = now[kernel.BAR_SPLIT] = 1.0
    now[kernel.BAR_OPEN], now[kernel.BAR_CLOSE] = bar.open, bar.close
    now[kernel.BAR_HIGH], now[kernel.BAR_LOW] = bar.highest, bar.lowest
    now[kernel.BAR_VOLUME], now[kernel.BAR_ATR] = bar.volume, math.nan
    fees = fees_for(np.datetime64(int(bar.time.timestamp()), "s"))[0]
    now[kernel.BAR_SEC_RATE], now[kernel.BAR_TAF_PER_SHARE], now[kernel.BAR_TAF_CAP] = fees


def write_standing(row: np.ndarray, before: np.ndarray, now: np.ndarray, position: Position) -> None:
    """What the book holds of an instrument without a bar: it counts at its last price and nothing can happen to it.

    Raises: ValueError if it has no price to be counted at.
    """
    price = float(position.last_price)
    if not price > 0.0:
        raise ValueError(
            f"the book holds {position}, without a bar here and with {price:g} as its last price: mark it at a close"
        )
    row[kernel.QUANTITY], row[kernel.AVERAGE_PRICE] = float(position.quantity), price
    for bar in (before, now):
        bar[[kernel.BAR_OPEN, kernel.BAR_HIGH, kernel.BAR_LOW, kernel.BAR_CLOSE]] = price
        bar[kernel.BAR_ATR], bar[kernel.BAR_SPLIT] = math.nan, 1.0


def rules_of_standing(instrument: Instrument) -> MarketRules:
    """Rules under which a position without a bar counts: what a point is worth, and whether it was paid for."""
    return MarketRules(schedule="none", multiplier=float(instrument.multiplier), settled_daily=instrument.settled_daily)


def keep_levels(row: np.ndarray, kept: np.ndarray, before: np.ndarray, now: np.ndarray, rules: np.ndarray) -> bool:
    """After a bar without protection: the levels as they would be, none of them having traded.

    row: after the bar, changed in place; kept: before it; before, now: (N_BAR,); rules: (N_RULES,).
    Returns: whether the bar reached a level.
    """
    held, quantity = kept[kernel.QUANTITY], row[kernel.QUANTITY]
    levels = kernel.levels_after_order(
        held, quantity, row[kernel.AVERAGE_PRICE], kept[kernel.STOP], kept[kernel.TARGET], kept[kernel.BEST], rules
    )
    row[kernel.STOP], row[kernel.TARGET], row[kernel.BEST] = levels
    if quantity == 0.0:
        return False
    if held * quantity > 0.0:
        row[kernel.REST] = kept[kernel.REST]
        row[kernel.FORCED_FLAT] = max(row[kernel.FORCED_FLAT], kept[kernel.FORCED_FLAT])
    trail = kernel.trail_level(quantity, row[kernel.BEST], before[kernel.BAR_ATR], rules)
    *_, reason, _ = kernel.protective_close(
        quantity, row[kernel.STOP], row[kernel.TARGET], trail, now[kernel.BAR_OPEN], now[kernel.BAR_HIGH],
        now[kernel.BAR_LOW], 0.0, math.inf, 0.0, 0.0, 0.0, rules,
    )  # fmt: skip
    row[kernel.BEST] = kernel.trail_after_bar(quantity, row[kernel.BEST], now[kernel.BAR_HIGH], now[kernel.BAR_LOW])
    return bool(reason)


def read_trade(fill: np.ndarray) -> Trade | None:
    """A fill of the kernel, (N_FILL,); None where nothing traded."""
    if fill[kernel.FILL_TRADED] == 0.0:
        return None
    return Trade(
        float(fill[kernel.FILL_TRADED]), float(fill[kernel.FILL_PRICE]), float(fill[kernel.FILL_COMMISSION]),
        float(fill[kernel.FILL_SLIPPAGE]), PURPOSES[int(fill[kernel.FILL_REASON])],
    )  # fmt: skip


def read_level(value: float) -> float | None:
    """A level of the kernel; None for NaN."""
    return None if math.isnan(value) else float(value)
