"""Whole series in one call, for given targets or weights."""

import math

import numpy as np

from core.simulation.compiled import compiled
from core.simulation.kernel.advance import advance_at, new_account, new_positions, target_at
from core.simulation.kernel.layout import (
    BAR_CLOSE,
    CONTINUOUS,
    EQUITY,
    FILL_TRADED,
    N_BAR,
    N_FILL,
    N_OUT,
    N_POSITION,
    N_RULES,
    N_RUN_FILL,
    QUANTITY,
    RUN_BAR,
    RUN_INSTRUMENT,
    RUN_TRADED,
)


@compiled(error_model="numpy")
def _collect(fills: np.ndarray, rows: np.ndarray, n_rows: int, bar: int, n_instruments: int) -> int:
    """Append a bar's fills to ``rows``: all orders at the open, then all protective closes. Returns: rows so far."""
    for slot in range(2):
        for i in range(n_instruments):
            if fills[i, slot, FILL_TRADED] != 0.0:
                rows[n_rows, RUN_BAR], rows[n_rows, RUN_INSTRUMENT] = bar, i
                for column in range(N_FILL):
                    rows[n_rows, RUN_TRADED + column] = fills[i, slot, column]
                n_rows += 1
    return n_rows


@compiled(error_model="numpy")
def _run(
    bars: np.ndarray, start_cash: float, decisions: np.ndarray, as_weights: bool, rules: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The whole series; see run_targets."""
    n_bars, n_instruments = bars.shape[0], bars.shape[1]
    account, positions = new_account(start_cash), new_positions(n_instruments)
    equity, quantity = np.empty(n_bars), np.empty((n_bars, n_instruments))
    out, fills = np.empty((n_bars, N_OUT)), np.empty((n_instruments, 2, N_FILL))
    rows, n_rows = np.empty((2 * n_bars * n_instruments, N_RUN_FILL)), 0
    targets = np.full(n_instruments, np.nan)
    flat_bars, flat_rules, flat_positions = bars.reshape(-1), rules.reshape(-1), positions.reshape(-1)
    flat_out, flat_fills, block = out.reshape(-1), fills.reshape(-1), n_instruments * N_BAR
    for t in range(n_bars):
        advance_at(
            account, 0, flat_positions, 0, flat_bars, max(t - 1, 0) * block, flat_bars, t * block, targets, 0,
            flat_rules, 0, flat_out, t * N_OUT, flat_fills, 0, n_instruments,
        )  # fmt: skip
        equity[t] = account[EQUITY]
        n_rows = _collect(fills, rows, n_rows, t, n_instruments)
        for i in range(n_instruments):
            quantity[t, i] = positions[i, QUANTITY]
            targets[i] = decisions[t, i]
            if as_weights and not math.isnan(decisions[t, i]):
                targets[i] = target_at(
                    CONTINUOUS, decisions[t, i], account, 0, flat_positions, i * N_POSITION, bars[t, i, BAR_CLOSE],
                    flat_rules, i * N_RULES,
                )  # fmt: skip
    return equity, quantity, rows[:n_rows].copy(), out


def _checked(bars: np.ndarray, decisions: np.ndarray, rules: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The arrays as the compiled run takes them. Raises: ValueError naming the one whose shape does not fit."""
    if bars.ndim != 3 or bars.shape[2] != N_BAR or 0 in bars.shape:
        raise ValueError(f"bars has shape {bars.shape}, expected (T, I, {N_BAR}): build it with bar_table")
    n_bars, n_instruments, _ = bars.shape
    if decisions.ndim == 1 and n_instruments == 1:
        decisions = decisions[:, None]
    if decisions.shape != (n_bars, n_instruments):
        raise ValueError(f"decisions have shape {decisions.shape}, expected ({n_bars}, {n_instruments}), one per bar")
    rules = np.atleast_2d(rules)
    if rules.shape != (n_instruments, N_RULES):
        raise ValueError(f"rules has shape {rules.shape}, expected ({n_instruments}, {N_RULES}): one row an instrument")
    return tuple(np.ascontiguousarray(array, dtype=float) for array in (bars, decisions, rules))  # type: ignore[return-value]


def run_targets(
    bars: np.ndarray, start_cash: float, targets: np.ndarray, rules: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Run a whole series for given target quantities.

    bars: (T, I, N_BAR) by ``bar_table``; targets: (T, I), or (T,) for one instrument: the quantity decided at the close
    of each bar, in that bar's units, NaN for no decision; rules: (I, N_RULES) or one row.
    Nothing trades in bar 0, and the last targets are never carried out.
    Returns: equity (T,) at each close, quantity (T, I) held at each close, fills (n, N_RUN_FILL) by the RUN_ columns,
    out (T, N_OUT) as ``advance`` writes it. After ruin the account goes flat and stays so.
    Raises: ValueError if shapes do not fit.
    """
    bars, targets, rules = _checked(bars, targets, rules)
    return _run(bars, float(start_cash), targets, False, rules)


def run_weights(
    bars: np.ndarray, start_cash: float, weights: np.ndarray, rules: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """As run_targets, for continuous actions (T, I) decided at each close: buy and hold is 1.0, then NaN."""
    bars, weights, rules = _checked(bars, weights, rules)
    return _run(bars, float(start_cash), weights, True, rules)
