"""From actions to quantities, at the close that decides, and what the next open allows of them."""

import math

import numpy as np

from core.simulation.compiled import inlined
from core.simulation.kernel.costs import commission
from core.simulation.kernel.layout import (
    BUY,
    CHOICE,
    CONTINUOUS,
    HOLD,
    ROUNDING_SLACK,
    RULE_HALF_SPREAD_BPS,
    RULE_LOT,
    RULE_MAX_WEIGHT,
    RULE_MULTIPLIER,
    RULE_NO_TRADE_BAND,
    RULE_PARTICIPATION,
    RULE_SHORT_SELLING,
    SELL,
    STEPS,
)
from core.simulation.kernel.prices import fill_price


@inlined
def quantity_for_weight(weight: float, equity: float, close: float, rules: np.ndarray, k: int = 0) -> float:
    """Signed quantity worth ``weight`` of equity at the close, toward zero in whole lots. 0 without equity."""
    if equity <= 0.0:
        return 0.0  # a negative equity would turn the sign of the position around
    lot = rules[k + RULE_LOT]
    return np.trunc(weight * equity / (close * rules[k + RULE_MULTIPLIER]) / lot) * lot


@inlined
def _sold(equity: float, close: float, rules: np.ndarray, k: int) -> float:
    """What a full sale aims at: nothing, or the largest short position where short selling is on."""
    if rules[k + RULE_SHORT_SELLING] == 0.0:
        return 0.0
    return quantity_for_weight(-rules[k + RULE_MAX_WEIGHT], equity, close, rules, k)


@inlined
def target_for_choice(
    choice: int, quantity: float, equity: float, close: float, rules: np.ndarray, k: int = 0
) -> float:
    """Target quantity of the three actions, decided at the close.

    choice: 0 hold keeps the quantity; 1 buy aims at +max_weight; 2 sell aims at 0, or -max_weight with short selling.
    Raises: ValueError for any other choice.
    """
    if choice == HOLD:
        return quantity
    if choice == BUY:
        return quantity_for_weight(rules[k + RULE_MAX_WEIGHT], equity, close, rules, k)
    if choice != SELL:
        raise ValueError("choice must be 0 (hold), 1 (buy) or 2 (sell)")
    return _sold(equity, close, rules, k)


@inlined
def target_for_steps(step: int, quantity: float, equity: float, close: float, rules: np.ndarray, k: int = 0) -> float:
    """Target quantity of the nine actions, decided at the close.

    step: 0 hold; 1 to 4 buy 25, 50, 75, 100 % of the way to +max_weight; 5 to 8 sell as much of the way to 0, or to
    -max_weight with short selling. What moves is cut to whole lots toward zero; 100 % arrives exactly.
    Raises: ValueError for any other step.
    """
    if step == 0:
        return quantity
    if not 1 <= step <= 8:
        raise ValueError("step must be 0 (hold), 1 to 4 (buy 25 to 100 %) or 5 to 8 (sell 25 to 100 %)")
    if step <= 4:
        aim = quantity_for_weight(rules[k + RULE_MAX_WEIGHT], equity, close, rules, k)
    else:
        aim = _sold(equity, close, rules, k)
    quarters = (step - 1) % 4 + 1
    if quarters == 4:
        return aim
    lots = (aim - quantity) * quarters / 4.0 / rules[k + RULE_LOT]
    # Thirty lots must not become 29 because their float lies a hair below.
    return quantity + math.copysign(np.floor(abs(lots) + ROUNDING_SLACK), lots) * rules[k + RULE_LOT]


@inlined
def target_for_weight(
    action: float, quantity: float, equity: float, close: float, rules: np.ndarray, k: int = 0
) -> float:
    """Target quantity of the continuous action, decided at the close.

    action: clipped to [0, 1], or [-1, 1] with short selling, then times max_weight. A change of weight smaller than
    no_trade_band keeps the quantity, except that exactly 0 always closes the position.
    Raises: ValueError if action is NaN.
    """
    if math.isnan(action):
        raise ValueError("action is NaN: check the policy's output before it decides")
    lowest = -1.0 if rules[k + RULE_SHORT_SELLING] != 0.0 else 0.0
    weight = min(max(action, lowest), 1.0) * rules[k + RULE_MAX_WEIGHT]
    if weight == 0.0 or equity <= 0.0:
        return 0.0
    current_weight = quantity * close * rules[k + RULE_MULTIPLIER] / equity
    if abs(weight - current_weight) < rules[k + RULE_NO_TRADE_BAND]:
        return quantity
    return quantity_for_weight(weight, equity, close, rules, k)


@inlined
def target_for_action(
    kind: int, action: float, quantity: float, equity: float, close: float, rules: np.ndarray, k: int = 0
) -> float:
    """Target quantity of an action of any kind: CHOICE, STEPS or CONTINUOUS. Raises: ValueError for another kind."""
    if kind == CONTINUOUS:
        return target_for_weight(action, quantity, equity, close, rules, k)
    if math.isnan(action):
        raise ValueError("action is NaN: check the policy's output before it decides")
    if kind == CHOICE:
        return target_for_choice(int(action), quantity, equity, close, rules, k)
    if kind != STEPS:
        raise ValueError("kind must be CHOICE (0), STEPS (1) or CONTINUOUS (2)")
    return target_for_steps(int(action), quantity, equity, close, rules, k)


@inlined
def trade_limit(volume: float, rules: np.ndarray, k: int = 0) -> float:
    """Most units that trade in a bar, whole lots; infinite without a participation limit, 0 in a bar without volume."""
    participation, lot = rules[k + RULE_PARTICIPATION], rules[k + RULE_LOT]
    if participation == 0.0:
        return np.inf
    return np.floor(participation * volume / lot) * lot


@inlined
def limit_left(limit: float, traded: float, rules: np.ndarray, k: int = 0) -> float:
    """What a bar's limit still lets trade after an order of ``traded``, whole lots."""
    if traded == 0.0:
        return limit
    lot = rules[k + RULE_LOT]
    # The difference of two fractional quantities may leave a hair, which must not become an order.
    return max(np.floor((limit - abs(traded)) / lot + ROUNDING_SLACK) * lot, 0.0)


@inlined
def within_limit(order: float, limit: float, rules: np.ndarray, k: int = 0) -> float:
    """The part of a signed order that a bar's limit lets through."""
    if abs(order) <= limit + ROUNDING_SLACK * rules[k + RULE_LOT]:
        return order
    return min(max(order, -limit), limit)


@inlined
def room_at_open(equity: float, others: float, leverage: float) -> float:
    """Money one instrument's position may be worth: the leverage limit on equity less what the others hold."""
    return leverage * equity - others


@inlined
def _largest(target: float, room: float, open_price: float, rules: np.ndarray, k: int) -> float:
    """Most units the room carries on the target's side, the half spread included, >= 0."""
    lot = rules[k + RULE_LOT]
    side = 1.0 if target > 0.0 else -1.0
    price = open_price * (1.0 + side * rules[k + RULE_HALF_SPREAD_BPS] / 1e4)
    return max(np.floor(room / (price * rules[k + RULE_MULTIPLIER]) / lot) * lot, 0.0)


@inlined
def reduces(quantity: float, target: float) -> bool:
    """Whether an order leaves no more of the position than there is, on the same side."""
    return target * quantity >= 0.0 and abs(target) <= abs(quantity)


@inlined
def allowed_at_open(
    quantity: float, target: float, room: float, open_price: float, limit: float, rules: np.ndarray, k: int = 0
) -> float:
    """The quantity the account may hold after the order from ``quantity`` to ``target`` at the open.

    room: money as by ``room_at_open``; limit: units as by ``trade_limit``.
    The room cuts orders that increase the position, and the opening half of a reversal: it shrinks an order, down to
    nothing, but never turns a buy into a sale. Without short selling a target below 0 counts as 0.
    """
    if target < 0.0 and rules[k + RULE_SHORT_SELLING] == 0.0:
        target = 0.0
    if not reduces(quantity, target):
        largest = _largest(target, room, open_price, rules, k)
        if target * quantity > 0.0:
            largest = max(largest, abs(quantity))
        target = min(max(target, -largest), largest)
    order = target - quantity
    part = within_limit(order, limit, rules, k)
    return target if part == order else quantity + part


@inlined
def average_after(quantity: float, average_price: float, traded: float, price: float, new_quantity: float) -> float:
    """Average price after a fill: weighted on increases, kept on reductions, the fill's on open and reversal."""
    if new_quantity == 0.0:
        return 0.0
    if quantity == 0.0:
        return price
    if quantity * traded > 0.0:
        return (quantity * average_price + traded * price) / new_quantity
    return average_price if quantity * new_quantity > 0.0 else price


@inlined
def trade_at_open(
    quantity: float,
    target: float,
    average_price: float,
    room: float,
    open_price: float,
    limit: float,
    volume: float,
    anchor: float,
    sec_rate: float,
    taf_per_share: float,
    taf_cap: float,
    rules: np.ndarray,
    k: int = 0,
) -> tuple[float, float, float, float, float, float, float]:
    """Carry out the order ``target - quantity`` at the open; a reversal is one order for the whole difference.

    anchor: 0, or for a daily settled future the price up to which its gains are in cash already.
    Returns: (traded, price, commission, slippage, change of cash, new quantity, new average price); where nothing
    trades: price NaN.
    """
    new_quantity = allowed_at_open(quantity, target, room, open_price, limit, rules, k)
    traded = new_quantity - quantity
    if traded == 0.0:
        return 0.0, np.nan, 0.0, 0.0, 0.0, quantity, average_price
    price = fill_price(open_price, traded, volume, rules, k)
    paid = commission(traded, price, sec_rate, taf_per_share, taf_cap, False, rules, k)
    multiplier = rules[k + RULE_MULTIPLIER]
    # The difference of two fractional lots may miss zero by a hair; the allowed quantity says exactly when flat.
    new_average = average_after(quantity, average_price, traded, price, new_quantity)
    slippage = (price - open_price) * traded * multiplier
    return traded, price, paid, slippage, -traded * (price - anchor) * multiplier - paid, new_quantity, new_average
