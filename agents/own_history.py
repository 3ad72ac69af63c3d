"""What an agent remembers of itself, bar by bar: wishes, returns, fills, its last trade. Pure, compiled, one for all.

The memory is a vector. Each bar: `add_decision` for what was wanted at the close before, `add_fill` for every fill of
the bar, then `close_bar`. Training and backtest do so in the environment; live the stored rows go through the same
functions, so that a restarted process remembers what the one before did.

All compiled functions and the indices they use stay in this one file: numba's cache on disk does not notice a change
of a file that a cached function takes something from.
"""

import numpy as np
from numba import njit

N_WANTED = 5  # decisions remembered
N_BARS = 20  # bars remembered

# The memory, newest first where a part has several places.
WANTED = 0  # target weights
RETURNS = WANTED + N_WANTED  # returns of the account, per bar
FILLS = RETURNS + N_BARS  # number of fills, per bar
N_KNOWN = FILLS + N_BARS  # bars with a return, at most N_BARS
SINCE_FILL = N_KNOWN + 1  # bars
TRADE_RESULT = SINCE_FILL + 1  # of the last closed trade, after costs, fraction of its entry value
QUANTITY = TRADE_RESULT + 1
AVERAGE_PRICE = QUANTITY + 1
OPEN_COSTS = AVERAGE_PRICE + 1  # entry commissions that fall on what is still open
BEST_CLOSE = OPEN_COSTS + 1  # most favourable since the position was opened, 0 before its first close
WORST_CLOSE = BEST_CLOSE + 1
CLOSE = WORST_CLOSE + 1
EQUITY = CLOSE + 1
FILLED_NOW = EQUITY + 1  # fills of the bar that has not closed yet
N_MEMORY = FILLED_NOW + 1

# What fill_history writes, in this order.
N_VALUES = 2 * N_WANTED + 8


@njit(cache=True, fastmath=False)
def new_memory(close: float, equity: float) -> np.ndarray:
    """Memory (N_MEMORY,) at the close of the account's first bar: nothing wanted, earned or traded yet."""
    memory = np.zeros(N_MEMORY)
    memory[CLOSE], memory[EQUITY] = close, equity
    return memory


@njit(cache=True, fastmath=False)
def _push(memory: np.ndarray, first: int, n: int, value: float) -> None:
    for place in range(first + n - 1, first, -1):
        memory[place] = memory[place - 1]
    memory[first] = value


@njit(cache=True, fastmath=False)
def add_decision(memory: np.ndarray, wanted: float, close: float, equity: float, multiplier: float) -> None:
    """Remember the signed quantity wanted at a close, as a share of the equity at that close."""
    _push(memory, WANTED, N_WANTED, wanted * close * multiplier / equity if equity > 0.0 else 0.0)


@njit(cache=True, fastmath=False)
def add_fill(
    memory: np.ndarray, traded: float, price: float, commission: float, quantity_after: float, multiplier: float
) -> None:
    """Remember a fill of the bar that is about to close: trades are matched at average cost, as round_trips does.

    traded, quantity_after: signed; price per unit; commission in account currency.
    """
    held, average, costs = memory[QUANTITY], memory[AVERAGE_PRICE], memory[OPEN_COSTS]
    if held == 0.0:
        average, costs = price, commission
    elif held * traded > 0.0:
        average = (held * average + traded * price) / quantity_after
        costs += commission
    else:
        closed = min(abs(held), abs(traded))
        entry_costs, exit_costs = costs * closed / abs(held), commission * closed / abs(traded)
        value = closed * average * multiplier
        gain = (1.0 if held > 0.0 else -1.0) * closed * (price - average) * multiplier
        memory[TRADE_RESULT] = (gain - entry_costs - exit_costs) / value if value > 0.0 else 0.0
        if held * quantity_after > 0.0:
            costs -= entry_costs
        else:
            average, costs = price, commission - exit_costs
    if held * quantity_after <= 0.0:  # opened, closed or reversed: no close has been seen with what is held now
        memory[BEST_CLOSE] = memory[WORST_CLOSE] = 0.0
    memory[QUANTITY] = quantity_after
    memory[AVERAGE_PRICE] = average if quantity_after != 0.0 else 0.0
    memory[OPEN_COSTS] = costs if quantity_after != 0.0 else 0.0
    memory[FILLED_NOW] += 1.0


@njit(cache=True, fastmath=False)
def split_units(memory: np.ndarray, ratio: float, quantity_after: float) -> None:
    """A split before the bar's fills: prices remembered count in new units. It is no trade.

    ratio: new units for one old; quantity_after: signed, held after it, 0 where it left less than a lot.
    """
    memory[QUANTITY] = quantity_after
    for place in (AVERAGE_PRICE, BEST_CLOSE, WORST_CLOSE, CLOSE):
        memory[place] /= ratio
    if quantity_after == 0.0:
        memory[AVERAGE_PRICE] = memory[OPEN_COSTS] = memory[BEST_CLOSE] = memory[WORST_CLOSE] = 0.0


@njit(cache=True, fastmath=False)
def close_bar(memory: np.ndarray, close: float, equity: float) -> None:
    """The bar has closed at this price and left this equity."""
    before = memory[EQUITY]
    _push(memory, RETURNS, N_BARS, equity / before - 1.0 if before > 0.0 else 0.0)
    _push(memory, FILLS, N_BARS, memory[FILLED_NOW])
    memory[N_KNOWN] = min(memory[N_KNOWN] + 1.0, float(N_BARS))
    memory[SINCE_FILL] = 0.0 if memory[FILLED_NOW] > 0.0 else memory[SINCE_FILL] + 1.0
    memory[FILLED_NOW], memory[CLOSE], memory[EQUITY] = 0.0, close, equity
    held = memory[QUANTITY]
    if held == 0.0:
        return
    first = memory[BEST_CLOSE] == 0.0
    better = first or (close > memory[BEST_CLOSE] if held > 0.0 else close < memory[BEST_CLOSE])
    worse = first or (close < memory[WORST_CLOSE] if held > 0.0 else close > memory[WORST_CLOSE])
    if better:
        memory[BEST_CLOSE] = close
    if worse:
        memory[WORST_CLOSE] = close


@njit(cache=True, fastmath=False)
def _gain(price: float, reference: float, held: float) -> float:
    """Change from reference to price, positive where it favours what is held; 0 without a reference."""
    if held == 0.0 or reference <= 0.0 or price <= 0.0:
        return 0.0
    change = price / reference - 1.0
    return change if held > 0.0 else -change


@njit(cache=True, fastmath=False)
def fill_history(memory: np.ndarray, out: np.ndarray) -> None:
    """Write the N_VALUES raw values of a memory to out, in the order of own_state.CATALOGUE after the first four."""
    for i in range(N_WANTED):
        out[i] = memory[WANTED + i]
        out[N_WANTED + i] = memory[RETURNS + i]
    # Summed afresh each bar, newest first: running sums would remember rounding that a restart forgets.
    n, total, squares, fills = int(memory[N_KNOWN]), 0.0, 0.0, 0.0
    for i in range(n):
        total += memory[RETURNS + i]
        fills += memory[FILLS + i]
    mean = total / n if n > 0 else 0.0
    for i in range(n):
        squares += (memory[RETURNS + i] - mean) ** 2
    at = 2 * N_WANTED
    out[at] = mean
    out[at + 1] = np.sqrt(squares / n) if n > 0 else 0.0
    out[at + 2] = memory[SINCE_FILL]
    out[at + 3] = fills
    out[at + 4] = memory[TRADE_RESULT]
    held, average = memory[QUANTITY], memory[AVERAGE_PRICE]
    out[at + 5] = _gain(memory[BEST_CLOSE], average, held)
    out[at + 6] = _gain(memory[WORST_CLOSE], average, held)
    # -(close / best - 1): what it lost since its best close, never below 0.
    out[at + 7] = max(-_gain(memory[CLOSE], memory[BEST_CLOSE], held), 0.0)
