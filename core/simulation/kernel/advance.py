"""One bar of one account, steps 0 to 7: the function that environment, backtest, replay and paper broker share."""

import numpy as np

from core.simulation.compiled import compiled, inlined
from core.simulation.kernel.closing import mark_account, mark_positions, must_force, protect, sum_fills
from core.simulation.kernel.layout import (
    BEST,
    CASH,
    EQUITY,
    FILL_COMMISSION,
    FILL_PRICE,
    FILL_REASON,
    FILL_SLIPPAGE,
    FILL_TRADED,
    LAST_ACTION,
    N_ACCOUNT,
    N_BAR,
    N_FILL,
    N_POSITION,
    N_RULES,
    OUT_BORROW,
    OUT_DIVIDENDS,
    OUT_INTEREST,
    PEAK,
    PENDING_FORCE,
    QUANTITY,
    START_EQUITY,
    STOP,
    TARGET,
    TERMINATED,
)
from core.simulation.kernel.opening import begin_session, trade_all_at_open
from core.simulation.kernel.rewards import reward_return
from core.simulation.kernel.sizing import target_for_action


@inlined
def advance_at(
    accounts: np.ndarray,
    a: int,
    positions: np.ndarray,
    p: int,
    before: np.ndarray,
    b: int,
    bars: np.ndarray,
    n: int,
    targets: np.ndarray,
    q: int,
    rules: np.ndarray,
    r: int,
    out: np.ndarray,
    o: int,
    fills: np.ndarray,
    f: int,
    n_instruments: int,
) -> None:
    """``advance`` for one of many accounts: one-dimensional arrays, each with the offset where its part begins.

    before and b, bars and n: the bar at whose close the targets were decided, and the one that carries them out.
    """
    force = accounts[a + PENDING_FORCE] != 0.0
    for i in range(2 * n_instruments):
        fill = f + i * N_FILL
        fills[fill + FILL_TRADED], fills[fill + FILL_PRICE] = 0.0, np.nan
        fills[fill + FILL_COMMISSION], fills[fill + FILL_SLIPPAGE], fills[fill + FILL_REASON] = 0.0, 0.0, 0.0
    cash, out[o + OUT_INTEREST], out[o + OUT_BORROW], out[o + OUT_DIVIDENDS] = begin_session(
        accounts[a + CASH], positions, p, before, b, bars, n, rules, r, n_instruments
    )
    cash = trade_all_at_open(
        cash, force, positions, p, before, b, bars, n, targets, q, rules, r, fills, f, n_instruments
    )
    for i in range(n_instruments):
        cash += protect(
            positions, p + i * N_POSITION, before, b + i * N_BAR, bars, n + i * N_BAR, rules, r + i * N_RULES,
            fills, f + 2 * i * N_FILL,
        )  # fmt: skip
    cash, equity, net, gross, aged = mark_positions(cash, positions, p, before, b, bars, n, rules, r, n_instruments)
    accounts[a + CASH] = cash
    costs = sum_fills(fills, f, rules, r, n_instruments)
    net_return = mark_account(accounts, a, equity, net, gross, aged, costs, out, o)
    reward_return(accounts, a, net_return, rules, r, out, o)
    if force:
        accounts[a + TERMINATED] = 1.0
    if must_force(accounts, a, gross, rules, r):
        accounts[a + PENDING_FORCE] = 1.0


@compiled(error_model="numpy")
def advance(
    account: np.ndarray,
    positions: np.ndarray,
    before: np.ndarray,
    bars: np.ndarray,
    targets: np.ndarray,
    rules: np.ndarray,
    out: np.ndarray,
    fills: np.ndarray,
) -> None:
    """Advance an account in place through one bar.

    account: (N_ACCOUNT,); positions: (I, N_POSITION); before, bars: (I, N_BAR), the bar at whose close the targets were
    decided and the one that carries them out; targets: (I,), signed quantities in the units of ``before``, NaN for no
    decision; rules: (I, N_RULES).
    Writes out (N_OUT,) and fills (I, 2, N_FILL): the order at the open and the protective close of each instrument.
    Ruin or a margin call at this close sets PENDING_FORCE: everything is sold at the next open whatever is decided,
    and TERMINATED is set after that bar. Both stay set. All arrays are C-contiguous float64 and are not checked.
    """
    advance_at(
        account, 0, positions.reshape(-1), 0, before.reshape(-1), 0, bars.reshape(-1), 0, targets, 0,
        rules.reshape(-1), 0, out, 0, fills.reshape(-1), 0, len(positions),
    )  # fmt: skip


@inlined
def reset_at(
    accounts: np.ndarray, a: int, positions: np.ndarray, p: int, start_cash: float, n_instruments: int
) -> None:
    """Make one of many accounts new and flat, in place."""
    for i in range(N_ACCOUNT):
        accounts[a + i] = 0.0
    accounts[a + CASH] = accounts[a + EQUITY] = accounts[a + PEAK] = accounts[a + START_EQUITY] = start_cash
    for i in range(n_instruments):
        position = p + i * N_POSITION
        for column in range(N_POSITION):
            positions[position + column] = 0.0
        positions[position + STOP] = positions[position + TARGET] = positions[position + BEST] = np.nan
        positions[position + LAST_ACTION] = np.nan


@compiled
def new_account(start_cash: float) -> np.ndarray:
    """(N_ACCOUNT,) of an account with cash alone. Raises: ValueError unless start_cash > 0."""
    if not start_cash > 0.0:
        raise ValueError("start_cash must be positive: pass the account's starting cash")
    account = np.empty(N_ACCOUNT)
    reset_at(account, 0, account, 0, start_cash, 0)
    return account


@compiled
def new_positions(n_instruments: int) -> np.ndarray:
    """(n_instruments, N_POSITION) of flat positions."""
    account, positions = np.empty(N_ACCOUNT), np.empty((n_instruments, N_POSITION))
    reset_at(account, 0, positions.reshape(-1), 0, 0.0, n_instruments)
    return positions


@inlined
def target_at(
    kind: int,
    action: float,
    accounts: np.ndarray,
    a: int,
    positions: np.ndarray,
    p: int,
    close: float,
    rules: np.ndarray,
    r: int,
) -> float:
    """``target_of`` for one of many accounts and positions, by offsets into one-dimensional arrays."""
    return target_for_action(kind, action, positions[p + QUANTITY], accounts[a + EQUITY], close, rules, r)


@compiled(error_model="numpy")
def target_of(
    kind: int, action: float, position: np.ndarray, account: np.ndarray, close: float, rules: np.ndarray
) -> float:
    """Quantity that an action decided at this close aims at.

    kind: CHOICE (three actions), STEPS (nine) or CONTINUOUS; position: (N_POSITION,); account: (N_ACCOUNT,);
    rules: (N_RULES,). Raises: ValueError for a NaN action or one that does not exist.
    """
    return target_at(kind, action, account, 0, position, 0, close, rules, 0)
