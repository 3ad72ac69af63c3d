"""What the night costs and changes: splits, interest, borrowed shares, and the daily settlement of futures."""

import numpy as np

from core.simulation.compiled import inlined
from core.simulation.kernel.layout import (
    DAYS_OF_INTEREST_YEAR,
    RATIO_ERROR,
    RULE_BORROW_RATE,
    RULE_CREDIT_SPREAD,
    RULE_DEBIT_SPREAD,
    RULE_INTEREST_RATE,
    RULE_MULTIPLIER,
    RULE_SETTLED_DAILY,
)


@inlined
def split_quantity(quantity: float, ratio: float, lot: float) -> float:
    """Signed quantity in whole lots after a split, toward zero; what is less than a lot is paid out in cash."""
    exact = quantity * ratio
    lots = np.round(exact / lot)
    if abs(exact - lots * lot) > abs(exact) * RATIO_ERROR:
        lots = np.trunc(exact / lot)
    return lots * lot


@inlined
def fraction_after_split(quantity: float, ratio: float, whole: float) -> float:
    """Signed part of a unit that a split leaves over beside ``whole`` units, 0 where it is only a float's hair."""
    exact = quantity * ratio
    return exact - whole if abs(exact - whole) > abs(exact) * RATIO_ERROR else 0.0


@inlined
def interest(cash: float, days: float, rules: np.ndarray, k: int = 0) -> float:
    """Interest on cash for so many calendar days, ACT/360: received > 0, paid < 0."""
    rate = rules[k + RULE_INTEREST_RATE]
    if cash >= 0.0:
        rate = max(0.0, rate - rules[k + RULE_CREDIT_SPREAD])
    else:
        rate += rules[k + RULE_DEBIT_SPREAD]
    return cash * rate * days / DAYS_OF_INTEREST_YEAR


@inlined
def borrow_fee(quantity: float, close_before: float, days: float, rules: np.ndarray, k: int = 0) -> float:
    """Fee for borrowed shares, ACT/360 on the value at the last close; 0 unless short."""
    if quantity >= 0.0:
        return 0.0
    value = -quantity * close_before * rules[k + RULE_MULTIPLIER]
    return value * rules[k + RULE_BORROW_RATE] * days / DAYS_OF_INTEREST_YEAR


@inlined
def financing(
    cash: float, quantity: float, close_before: float, days: float, rules: np.ndarray, k: int = 0
) -> tuple[float, float]:
    """(interest, borrow fee) of an account with one instrument, for ``days`` calendar days since the last session.

    cash: after dividends; quantity, close_before: as held and marked at the last close. Cash changes by
    interest - borrow fee.
    """
    return interest(cash, days, rules, k), borrow_fee(quantity, close_before, days, rules, k)


@inlined
def settle(quantity: float, anchor: float, price: float, rules: np.ndarray, k: int = 0) -> float:
    """Money a future's move from ``anchor`` to ``price`` pays to cash; 0 for what is not settled daily."""
    if rules[k + RULE_SETTLED_DAILY] == 0.0:
        return 0.0
    return quantity * (price - anchor) * rules[k + RULE_MULTIPLIER]
