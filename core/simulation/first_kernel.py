"""The simulation kernel: what one bar does to one account holding one instrument.

Environment, backtest and paper broker call these functions and no others, so they all give the same numbers.

Time: a decision at the close of bar t-1 becomes a target quantity and trades at the open of bar t, then the close
marks the account. Quantities are signed, money is in account currency, arrays are float64. ``rules`` is the vector
of ``MarketRules.as_array()``, ``fees`` one row of ``fees_for(times)``.

All compiled functions and the indices they use stay in this one file on purpose: numba's cache on disk notices a
change of the file a function is in, not of the files it calls into or takes constants from.
"""

import math

import numpy as np
from numba import njit

# Rules vector, filled by MarketRules.as_array().
RULE_HALF_SPREAD_BPS = 0
RULE_IMPACT_BPS = 1
RULE_IMPACT_EXPONENT = 2
RULE_TICK_SIZE = 3
RULE_LOT = 4
RULE_MULTIPLIER = 5
RULE_LEVERAGE = 6
RULE_SCHEDULE = 7
RULE_COMMISSION_BPS = 8
RULE_COMMISSION_PER_SHARE = 9
RULE_COMMISSION_MINIMUM = 10
RULE_COMMISSION_MAXIMUM_FRACTION = 11
RULE_PARTICIPATION = 12
RULE_MAX_WEIGHT = 13
RULE_SHORT_SELLING = 14
RULE_NO_TRADE_BAND = 15
RULE_RUIN_FRACTION = 16
RULE_VOLATILITY_DECAY = 17
N_RULES = 18

SCHEDULE_NONE = 0
SCHEDULE_BPS = 1
SCHEDULE_PER_SHARE = 2  # US shares: per-share price with minimum and maximum, regulatory fees on sells

# One row of regulatory fees.
FEE_SEC_RATE = 0
FEE_TAF_PER_SHARE = 1
FEE_TAF_CAP = 2
N_FEES = 3

# State vector of one account.
CASH = 0
QUANTITY = 1
AVERAGE_PRICE = 2
EQUITY = 3
PEAK = 4
DRAWDOWN = 5
VARIANCE = 6
AGE = 7
PENDING_FORCE = 8
TERMINATED = 9
START_EQUITY = 10
N_STATE = 11

# What step_bar writes: the fill, then the reward components before weights, then the exposure at the close.
OUT_TRADED = 0
OUT_PRICE = 1
OUT_COMMISSION = 2
OUT_SLIPPAGE = 3
OUT_NET_RETURN = 4
OUT_LOG_RETURN = 5
OUT_DRAWDOWN = 6
OUT_VOLATILITY = 7
OUT_COST = 8
OUT_EXPOSURE = 9
N_OUT = 10

REWARD_COMPONENTS = {
    "net_return": OUT_NET_RETURN,
    "log_return": OUT_LOG_RETURN,
    "drawdown": OUT_DRAWDOWN,
    "volatility": OUT_VOLATILITY,
    "cost": OUT_COST,
}

# Columns of the fills that run_targets and run_weights return.
FILL_BAR = 0
FILL_QUANTITY = 1
FILL_PRICE = 2
FILL_COMMISSION = 3
N_FILL = 4

# Columns of what companies do to their shares, one row per bar; no rows at all where nothing happens.
ACTION_SPLIT = 0  # new units for one old, 1 for none
ACTION_DIVIDEND = 1  # account currency a unit held after the split, 0 for none
N_ACTION = 2

HOLD, BUY, SELL = 0, 1, 2

# A price on a tick must stay there although its float lies a hair beside it; quantities likewise, in lots.
ROUNDING_SLACK = 1e-9
# Ratios of splits come as floats: 30 old units times 0.3333333333 are 10 new ones. As core.ledger has it.
RATIO_ERROR = 1e-8
# log1p has no value at -100 %: a wiped-out account scores this loss, about -13.8, instead of -inf.
WORST_LOGGED_RETURN = -1.0 + 1e-6


@njit(cache=True, fastmath=False)
def fill_price(reference: float, traded: float, volume: float, rules: np.ndarray) -> float:
    """Price of an order of ``traded`` (buys > 0, sells < 0): spread and impact, then the tick against the trader.

    reference: market price (the bar's open); volume: of the bar, in units of the instrument; 0 means no impact.
    Returns: price per unit, never below 0.
    """
    slip_bps = rules[RULE_HALF_SPREAD_BPS]
    if volume > 0.0:
        slip_bps += rules[RULE_IMPACT_BPS] * (abs(traded) / volume) ** rules[RULE_IMPACT_EXPONENT]
    tick = rules[RULE_TICK_SIZE]
    if traded >= 0.0:
        price = reference * (1.0 + slip_bps / 1e4)
        return np.ceil(price / tick - ROUNDING_SLACK) * tick if tick > 0.0 else price
    price = reference * (1.0 - slip_bps / 1e4)
    if tick > 0.0:
        price = np.floor(price / tick + ROUNDING_SLACK) * tick
    return max(price, 0.0)


@njit(cache=True, fastmath=False)
def commission(traded: float, price: float, fees: np.ndarray, rules: np.ndarray) -> float:
    """Commission of one order in one bar, regulatory fees on sells included. Not rounded, >= 0.

    fees: shape (3,): SEC rate (fraction of value), FINRA TAF per share, TAF cap per order; used by US schedules only.
    """
    n = abs(traded)
    value = n * price * rules[RULE_MULTIPLIER]
    if n == 0.0 or rules[RULE_SCHEDULE] == SCHEDULE_NONE:
        return 0.0
    if rules[RULE_SCHEDULE] == SCHEDULE_BPS:
        return value * rules[RULE_COMMISSION_BPS] / 1e4
    paid = max(rules[RULE_COMMISSION_MINIMUM], rules[RULE_COMMISSION_PER_SHARE] * n)
    paid = min(paid, rules[RULE_COMMISSION_MAXIMUM_FRACTION] * value)
    if traded < 0.0:
        paid += fees[FEE_SEC_RATE] * value + min(fees[FEE_TAF_PER_SHARE] * n, fees[FEE_TAF_CAP])
    return paid


@njit(cache=True, fastmath=False)
def quantity_for_weight(weight: float, equity: float, close: float, rules: np.ndarray) -> float:
    """Signed quantity worth ``weight`` of equity at the close, toward zero in whole lots. 0 without equity."""
    if equity <= 0.0:
        return 0.0  # a negative equity would turn the sign of the position around
    lot = rules[RULE_LOT]
    return np.trunc(weight * equity / (close * rules[RULE_MULTIPLIER]) / lot) * lot


@njit(cache=True, fastmath=False)
def target_for_choice(choice: int, quantity: float, equity: float, close: float, rules: np.ndarray) -> float:
    """Target quantity of the three actions, decided at the close.

    choice: 0 hold keeps the quantity; 1 buy aims at +max_weight; 2 sell aims at 0, or -max_weight with short selling.
    Raises: ValueError for any other choice.
    """
    if choice == HOLD:
        return quantity
    if choice == BUY:
        return quantity_for_weight(rules[RULE_MAX_WEIGHT], equity, close, rules)
    if choice != SELL:
        raise ValueError("choice must be 0 (hold), 1 (buy) or 2 (sell)")
    if rules[RULE_SHORT_SELLING] == 0.0:
        return 0.0
    return quantity_for_weight(-rules[RULE_MAX_WEIGHT], equity, close, rules)


@njit(cache=True, fastmath=False)
def target_for_weight(action: float, quantity: float, equity: float, close: float, rules: np.ndarray) -> float:
    """Target quantity of the continuous action, decided at the close.

    action: clipped to [0, 1], or [-1, 1] with short selling, then times max_weight. A change of weight smaller than
    no_trade_band keeps the quantity, except that exactly 0 always closes the position.
    Raises: ValueError if action is NaN.
    """
    if math.isnan(action):
        raise ValueError("action is NaN: check the policy's output before it decides")
    lowest = -1.0 if rules[RULE_SHORT_SELLING] != 0.0 else 0.0
    weight = min(max(action, lowest), 1.0) * rules[RULE_MAX_WEIGHT]
    if weight == 0.0 or equity <= 0.0:
        return 0.0
    current_weight = quantity * close * rules[RULE_MULTIPLIER] / equity
    if abs(weight - current_weight) < rules[RULE_NO_TRADE_BAND]:
        return quantity
    return quantity_for_weight(weight, equity, close, rules)


@njit(cache=True, fastmath=False)
def _largest_at_open(target: float, quantity: float, cash: float, open_price: float, rules: np.ndarray) -> float:
    """Most units equity at the open can carry under the leverage limit on the target's side, >= 0."""
    multiplier, lot = rules[RULE_MULTIPLIER], rules[RULE_LOT]
    side = 1.0 if target > 0.0 else -1.0
    price = open_price * (1.0 + side * rules[RULE_HALF_SPREAD_BPS] / 1e4)
    equity = cash + quantity * open_price * multiplier
    return max(np.floor(rules[RULE_LEVERAGE] * equity / (price * multiplier) / lot) * lot, 0.0)


@njit(cache=True, fastmath=False)
def allowed_at_open(
    quantity: float, target: float, cash: float, open_price: float, volume: float, rules: np.ndarray
) -> float:
    """The quantity the account may hold after the order from ``quantity`` to ``target`` at the open.

    Leverage cuts orders that increase the position, and the opening half of a reversal: it shrinks an order, down to
    nothing, but never turns a buy into a sale. Then at most participation * volume trades; with participation 0
    there is no volume limit (indices have no volume), with participation > 0 and volume 0 nothing trades.
    Without short selling a target below 0 counts as 0.
    """
    if target < 0.0 and rules[RULE_SHORT_SELLING] == 0.0:
        target = 0.0
    if target * quantity < 0.0 or abs(target) > abs(quantity):
        largest = _largest_at_open(target, quantity, cash, open_price, rules)
        if target * quantity > 0.0:
            largest = max(largest, abs(quantity))
        target = min(max(target, -largest), largest)
    if rules[RULE_PARTICIPATION] == 0.0:
        return target
    lot = rules[RULE_LOT]
    limit = np.floor(rules[RULE_PARTICIPATION] * volume / lot) * lot
    order = target - quantity
    if abs(order) <= limit + ROUNDING_SLACK * lot:
        return target
    return quantity + min(max(order, -limit), limit)


@njit(cache=True, fastmath=False)
def _average_after(quantity: float, average_price: float, traded: float, price: float) -> float:
    """Average price after a fill: weighted on increases, kept on reductions, the fill's on open and reversal."""
    if quantity == 0.0:
        return price
    new_quantity = quantity + traded
    if quantity * traded > 0.0:
        return (quantity * average_price + traded * price) / new_quantity
    return average_price if quantity * new_quantity > 0.0 else price


@njit(cache=True, fastmath=False)
def trade_at_open(
    quantity: float,
    target: float,
    cash: float,
    average_price: float,
    open_price: float,
    volume: float,
    fees: np.ndarray,
    rules: np.ndarray,
) -> tuple[float, float, float, float, float, float]:
    """Carry out the order ``target - quantity`` at the open; a reversal is one order for the whole difference.

    Returns: (traded, price, commission, new_cash, new_quantity, new_average_price); nothing traded: price NaN.
    """
    new_quantity = allowed_at_open(quantity, target, cash, open_price, volume, rules)
    traded = new_quantity - quantity
    if traded == 0.0:
        return 0.0, np.nan, 0.0, cash, quantity, average_price
    price = fill_price(open_price, traded, volume, rules)
    paid = commission(traded, price, fees, rules)
    new_cash = cash - traded * price * rules[RULE_MULTIPLIER] - paid
    # The difference of two fractional lots may miss zero by a hair; the allowed quantity says exactly when flat.
    new_average = 0.0 if new_quantity == 0.0 else _average_after(quantity, average_price, traded, price)
    return traded, price, paid, new_cash, new_quantity, new_average


@njit(cache=True, fastmath=False)
def new_state(start_cash: float) -> np.ndarray:
    """State vector (N_STATE,) of a flat account. Raises: ValueError unless start_cash > 0."""
    if not start_cash > 0.0:
        raise ValueError("start_cash must be positive: pass the account's starting cash")
    state = np.zeros(N_STATE)
    state[CASH] = state[EQUITY] = state[PEAK] = state[START_EQUITY] = start_cash
    return state


@njit(cache=True, fastmath=False)
def _mark_at_close(state: np.ndarray, close: float, rules: np.ndarray) -> float:
    """Equity, peak, drawdown and return variance at the close. Returns the bar's net return."""
    equity_before = state[EQUITY]
    equity = state[CASH] + state[QUANTITY] * close * rules[RULE_MULTIPLIER]
    # Without equity there is nothing to earn a return on; ruin has already ended such an account.
    net_return = equity / equity_before - 1.0 if equity_before > 0.0 else 0.0
    decay = rules[RULE_VOLATILITY_DECAY]
    state[EQUITY] = equity
    state[PEAK] = max(state[PEAK], equity)
    state[DRAWDOWN] = 1.0 - equity / state[PEAK]
    state[VARIANCE] = decay * state[VARIANCE] + (1.0 - decay) * net_return**2
    return net_return


@njit(cache=True, fastmath=False)
def split_quantity(quantity: float, ratio: float, lot: float) -> float:
    """Signed quantity in whole lots after a split, toward zero; what is less than a lot is paid out in cash."""
    exact = quantity * ratio
    lots = np.round(exact / lot)
    if abs(exact - lots * lot) > abs(exact) * RATIO_ERROR:
        lots = np.trunc(exact / lot)
    return lots * lot


@njit(cache=True, fastmath=False)
def begin_session(state: np.ndarray, open_: float, action: np.ndarray, target: float, rules: np.ndarray) -> float:
    """Step 0 of a bar, before anything trades in it: a split, then a dividend, change ``state`` in place.

    open_: raw, of this bar; action: (N_ACTION,); target: decided at the close before, in old units. Fractions of a lot
    are paid out at the open; a dividend is paid to who is long and by who is short. Equity and peak stay: they are
    those of the close before, which a split does not change and from which a dividend is earned.
    Returns: the target in new units. Raises: ValueError for a split that is not above 0, or a dividend below 0.
    """
    ratio, dividend = action[ACTION_SPLIT], action[ACTION_DIVIDEND]
    if not (ratio > 0.0 and dividend >= 0.0):
        raise ValueError("a split must be above 0 (1 for none) and a dividend at least 0: correct the actions")
    multiplier, lot = rules[RULE_MULTIPLIER], rules[RULE_LOT]
    if ratio != 1.0:
        exact = state[QUANTITY] * ratio
        whole = split_quantity(state[QUANTITY], ratio, lot)
        if abs(exact - whole) > abs(exact) * RATIO_ERROR:
            state[CASH] += (exact - whole) * open_ * multiplier
        state[QUANTITY] = whole
        state[AVERAGE_PRICE] = state[AVERAGE_PRICE] / ratio if whole != 0.0 else 0.0
        target = split_quantity(target, ratio, lot)
    if dividend > 0.0:
        state[CASH] += state[QUANTITY] * dividend * multiplier
    return target


@njit(cache=True, fastmath=False)
def step_bar(
    state: np.ndarray,
    open_: float,
    close: float,
    volume: float,
    fees: np.ndarray,
    target: float,
    rules: np.ndarray,
    out: np.ndarray,
) -> None:
    """Advance ``state`` in place through one bar and write the fill and reward components to ``out``.

    state: (N_STATE,); fees: (3,); target: quantity decided at the previous close (the held quantity means no order);
    out: (N_OUT,), OUT_PRICE is NaN in a bar without a fill, OUT_SLIPPAGE is money paid beside the open, >= 0.
    Ruin at this close sets PENDING_FORCE: the next bar's target is 0 whatever is decided, and TERMINATED is set
    after that bar. Both stay set. Raises: ValueError if target is NaN.
    """
    if math.isnan(target):
        raise ValueError("target is NaN: pass the held quantity for no order")
    if state[PENDING_FORCE] != 0.0:
        target = 0.0
        state[TERMINATED] = 1.0
    quantity, equity_before, drawdown_before = (state[QUANTITY], state[EQUITY], state[DRAWDOWN])
    traded, price, paid, state[CASH], state[QUANTITY], state[AVERAGE_PRICE] = trade_at_open(
        quantity, target, state[CASH], state[AVERAGE_PRICE], open_, volume, fees, rules
    )
    net_return = _mark_at_close(state, close, rules)
    if state[QUANTITY] == 0.0:
        state[AGE] = 0.0
    else:  # an opened or reversed position is one bar old at its first close
        state[AGE] = state[AGE] + 1.0 if quantity * state[QUANTITY] > 0.0 else 1.0
    if state[EQUITY] <= rules[RULE_RUIN_FRACTION] * state[START_EQUITY]:
        state[PENDING_FORCE] = 1.0

    slippage = (price - open_) * traded * rules[RULE_MULTIPLIER] if traded != 0.0 else 0.0
    out[OUT_TRADED], out[OUT_PRICE], out[OUT_COMMISSION], out[OUT_SLIPPAGE] = (traded, price, paid, slippage)
    out[OUT_NET_RETURN] = net_return
    out[OUT_LOG_RETURN] = math.log1p(max(net_return, WORST_LOGGED_RETURN))
    out[OUT_DRAWDOWN] = -max(0.0, state[DRAWDOWN] - drawdown_before)
    out[OUT_VOLATILITY] = -math.sqrt(state[VARIANCE])
    out[OUT_COST] = -(paid + slippage) / equity_before if equity_before > 0.0 else 0.0
    value = state[QUANTITY] * close * rules[RULE_MULTIPLIER]
    out[OUT_EXPOSURE] = value / state[EQUITY] if state[EQUITY] > 0.0 else 0.0


@njit(cache=True, fastmath=False)
def _run(
    open_: np.ndarray,
    close: np.ndarray,
    volume: np.ndarray,
    fees: np.ndarray,
    start_cash: float,
    decisions: np.ndarray,
    as_weights: bool,
    rules: np.ndarray,
    actions: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The whole series; see run_targets."""
    n_bars = len(close)
    if len(open_) != n_bars or len(volume) != n_bars or len(fees) != n_bars or len(decisions) != n_bars:
        raise ValueError("open, close, volume, fees and decisions must have one row per bar each")
    if len(actions) != 0 and len(actions) != n_bars:
        raise ValueError("actions must have one row per bar, or none at all")
    state = new_state(start_cash)
    equity, quantity, out = (np.empty(n_bars), np.empty(n_bars), np.empty((n_bars, N_OUT)))
    fills, n_fills = np.empty((n_bars, N_FILL)), 0
    target = 0.0
    for t in range(n_bars):
        if len(actions) != 0:
            target = begin_session(state, open_[t], actions[t], target, rules)
        step_bar(state, open_[t], close[t], volume[t], fees[t], target, rules, out[t])
        equity[t], quantity[t] = state[EQUITY], state[QUANTITY]
        if out[t, OUT_TRADED] != 0.0:
            fills[n_fills, FILL_BAR], fills[n_fills, FILL_QUANTITY] = (t, out[t, OUT_TRADED])
            fills[n_fills, FILL_PRICE], fills[n_fills, FILL_COMMISSION] = (out[t, OUT_PRICE], out[t, OUT_COMMISSION])
            n_fills += 1
        if math.isnan(decisions[t]):
            target = state[QUANTITY]
        elif as_weights:
            target = target_for_weight(decisions[t], state[QUANTITY], state[EQUITY], close[t], rules)
        else:
            target = decisions[t]
    return equity, fills[:n_fills].copy(), quantity, out


@njit(cache=True, fastmath=False)
def run_targets(
    open_: np.ndarray,
    close: np.ndarray,
    volume: np.ndarray,
    fees: np.ndarray,
    start_cash: float,
    targets: np.ndarray,
    rules: np.ndarray,
    actions: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Run a whole series for given target quantities.

    open_, close, volume: (T,), checked by ``validate_bars``; fees: (T, 3); targets: (T,), the target quantity decided
    at the close of each bar, NaN for no decision. Nothing trades in bar 0, and targets[T-1] is never carried out.
    actions: (T, N_ACTION), or None; a target waiting for a bar with a split is meant in old units.
    Returns: equity (T,) at each close, fills (n, 4) by the FILL_ columns, quantity (T,) held at each close,
    out (T, N_OUT) as step_bar writes it. After ruin the account goes flat and stays so.
    Raises: ValueError if the lengths differ.
    """
    if actions is None:
        return _run(open_, close, volume, fees, start_cash, targets, False, rules, np.empty((0, N_ACTION)))
    return _run(open_, close, volume, fees, start_cash, targets, False, rules, actions)


@njit(cache=True, fastmath=False)
def run_weights(
    open_: np.ndarray,
    close: np.ndarray,
    volume: np.ndarray,
    fees: np.ndarray,
    start_cash: float,
    weights: np.ndarray,
    rules: np.ndarray,
    actions: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """As run_targets, for continuous actions (T,) decided at each close: buy and hold is 1.0, then NaN."""
    if actions is None:
        return _run(open_, close, volume, fees, start_cash, weights, True, rules, np.empty((0, N_ACTION)))
    return _run(open_, close, volume, fees, start_cash, weights, True, rules, actions)
