"""What an agent remembers of itself, bar by bar: wishes, returns, fills, its last trade. Pure, compiled, one for all.

The memory is a vector. Each bar: `add_decision` for what was wanted at the close before, `add_fill` for every fill of
the bar, then `close_bar`. Training and backtest do so in the environment; live the stored rows go through the same
functions, so that a restarted process remembers what the one before did.

The last argument `m` is where a memory begins in an array that holds many, 0 for an array that is one.
"""

import numpy as np

from core.simulation.compiled import compiled, inlined

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


def new_memory(close: float, equity: float) -> np.ndarray:
    """Memory (N_MEMORY,) at the close of the account's first bar: nothing wanted, earned or traded yet."""
    memory = np.empty(N_MEMORY)
    forget(memory, close, equity)
    return memory


@compiled
def forget(memory: np.ndarray, close: float, equity: float, m: int = 0) -> None:
    """Make it a new memory."""
    for place in range(m, m + N_MEMORY):
        memory[place] = 0.0
    memory[m + CLOSE], memory[m + EQUITY] = close, equity


@inlined
def _push(memory: np.ndarray, first: int, n: int, value: float) -> None:
    for place in range(first + n - 1, first, -1):
        memory[place] = memory[place - 1]
    memory[first] = value


@compiled(error_model="numpy")
def add_decision(memory: np.ndarray, wanted: float, close: float, equity: float, multiplier: float, m: int = 0) -> None:
    """Remember the signed quantity wanted at a close, as a share of the equity at that close."""
    _push(memory, m + WANTED, N_WANTED, wanted * close * multiplier / equity if equity > 0.0 else 0.0)


@compiled(error_model="numpy")
def add_fill(
    memory: np.ndarray,
    traded: float,
    price: float,
    commission: float,
    quantity_after: float,
    multiplier: float,
    m: int = 0,
) -> None:
    """Remember a fill of the bar that is about to close: trades are matched at average cost, as round_trips does.

    traded, quantity_after: signed; price per unit; commission in account currency.
    """
    held, average, costs = memory[m + QUANTITY], memory[m + AVERAGE_PRICE], memory[m + OPEN_COSTS]
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
        memory[m + TRADE_RESULT] = (gain - entry_costs - exit_costs) / value if value > 0.0 else 0.0
        if held * quantity_after > 0.0:
            costs -= entry_costs
        else:
            average, costs = price, commission - exit_costs
    if held * quantity_after <= 0.0:  # opened, closed or reversed: no close has been seen with what is held now
        memory[m + BEST_CLOSE] = memory[m + WORST_CLOSE] = 0.0
    memory[m + QUANTITY] = quantity_after
    memory[m + AVERAGE_PRICE] = average if quantity_after != 0.0 else 0.0
    memory[m + OPEN_COSTS] = costs if quantity_after != 0.0 else 0.0
    memory[m + FILLED_NOW] += 1.0


@compiled(error_model="numpy")
def split_units(memory: np.ndarray, ratio: float, quantity_after: float, m: int = 0) -> None:
    """A split before the bar's fills: prices remembered count in new units. It is no trade.

    ratio: new units for one old; quantity_after: signed, held after it, 0 where it left less than a lot.
    """
    memory[m + QUANTITY] = quantity_after
    for place in (AVERAGE_PRICE, BEST_CLOSE, WORST_CLOSE, CLOSE):
        memory[m + place] /= ratio
    if quantity_after == 0.0:
        memory[m + AVERAGE_PRICE] = memory[m + OPEN_COSTS] = memory[m + BEST_CLOSE] = memory[m + WORST_CLOSE] = 0.0


@compiled(error_model="numpy")
def close_bar(memory: np.ndarray, close: float, equity: float, m: int = 0) -> None:
    """The bar has closed at this price and left this equity."""
    before = memory[m + EQUITY]
    _push(memory, m + RETURNS, N_BARS, equity / before - 1.0 if before > 0.0 else 0.0)
    _push(memory, m + FILLS, N_BARS, memory[m + FILLED_NOW])
    memory[m + N_KNOWN] = min(memory[m + N_KNOWN] + 1.0, float(N_BARS))
    memory[m + SINCE_FILL] = 0.0 if memory[m + FILLED_NOW] > 0.0 else memory[m + SINCE_FILL] + 1.0
    memory[m + FILLED_NOW], memory[m + CLOSE], memory[m + EQUITY] = 0.0, close, equity
    held = memory[m + QUANTITY]
    if held == 0.0:
        return
    first = memory[m + BEST_CLOSE] == 0.0
    better = first or (close > memory[m + BEST_CLOSE] if held > 0.0 else close < memory[m + BEST_CLOSE])
    worse = first or (close < memory[m + WORST_CLOSE] if held > 0.0 else close > memory[m + WORST_CLOSE])
    if better:
        memory[m + BEST_CLOSE] = close
    if worse:
        memory[m + WORST_CLOSE] = close


@inlined
def _gain(price: float, reference: float, held: float) -> float:
    """Change from reference to price, positive where it favours what is held; 0 without a reference."""
    if held == 0.0 or reference <= 0.0 or price <= 0.0:
        return 0.0
    change = price / reference - 1.0
    return change if held > 0.0 else -change


@compiled(error_model="numpy")
def fill_history(memory: np.ndarray, out: np.ndarray, m: int = 0, k: int = 0) -> None:
    """Write the N_VALUES raw values of a memory to out from place k on, in the order of own_state.CATALOGUE
    after its first four.
    """
    for i in range(N_WANTED):
        out[k + i] = memory[m + WANTED + i]
        out[k + N_WANTED + i] = memory[m + RETURNS + i]
    # Summed afresh each bar, newest first: running sums would remember rounding that a restart forgets.
    n, total, squares, fills = int(memory[m + N_KNOWN]), 0.0, 0.0, 0.0
    for i in range(n):
        total += memory[m + RETURNS + i]
        fills += memory[m + FILLS + i]
    mean = total / n if n > 0 else 0.0
    for i in range(n):
        squares += (memory[m + RETURNS + i] - mean) ** 2
    at = k + 2 * N_WANTED
    out[at] = mean
    out[at + 1] = np.sqrt(squares / n) if n > 0 else 0.0
    out[at + 2] = memory[m + SINCE_FILL]
    out[at + 3] = fills
    out[at + 4] = memory[m + TRADE_RESULT]
    held, average = memory[m + QUANTITY], memory[m + AVERAGE_PRICE]
    out[at + 5] = _gain(memory[m + BEST_CLOSE], average, held)
    out[at + 6] = _gain(memory[m + WORST_CLOSE], average, held)
    # -(close / best - 1): what it lost since its best close, never below 0.
    out[at + 7] = max(-_gain(memory[m + CLOSE], memory[m + BEST_CLOSE], held), 0.0)
