"""What a copy of the environment sees: a window of features, then what it knows of itself."""

import numpy as np

from agents.environment import own_history, own_state
from agents.environment.batch_arrays import LIMIT, MARKET, N_PLACE, PART, ROW, Copies, World
from agents.environment.own_history import N_MEMORY
from agents.environment.own_state import N_ALL, fill_own_state
from core.simulation import kernel
from core.simulation.compiled import inlined


@inlined
def observe(world: World, copies: Copies, c: int, i_all: int, scratch: np.ndarray, seen: np.ndarray) -> None:
    """Write what copy c sees at its last closed bar to its row of `seen`."""
    n, width = world.n_features, world.window * world.n_features
    k = c * (width + world.n_own * i_all)
    row, offset = copies.places[c * N_PLACE + ROW], world.offsets[copies.places[c * N_PLACE + MARKET]]
    missing = max(world.window - 1 - row, 0) * n  # bars before the first one are zeros
    source = (offset + row + 1) * n - width
    for j in range(missing):
        seen[k + j] = 0.0
    for j in range(missing, width):
        seen[k + j] = world.features[source + j]
    _observe_self(world, copies, c, i_all, offset + row, scratch, seen, k + width)


@inlined
def _invested(world: World, copies: Copies, c: int, i_all: int, row: int) -> float:
    """Value of everything copy c holds at the close of `row`, as a share of its equity."""
    equity, value = copies.accounts[c * kernel.N_ACCOUNT + kernel.EQUITY], 0.0
    for i in range(i_all):
        held = copies.positions[(c * i_all + i) * kernel.N_POSITION + kernel.QUANTITY]
        close = world.bars[(row * i_all + i) * kernel.N_BAR + kernel.BAR_CLOSE]
        value += held * close * world.rules[i * kernel.N_RULES + kernel.RULE_MULTIPLIER]
    return value / equity if equity > 0.0 else 0.0


@inlined
def _observe_self(
    world: World, copies: Copies, c: int, i_all: int, row: int, scratch: np.ndarray, seen: np.ndarray, k: int
) -> None:
    """Write the own values of every instrument to `seen` from place k on."""
    a, s, n = c * kernel.N_ACCOUNT, c // PART * N_ALL, world.n_own
    for i in range(i_all):
        p = (c * i_all + i) * kernel.N_POSITION
        fill_own_state(
            copies.positions[p + kernel.QUANTITY], copies.positions[p + kernel.AVERAGE_PRICE],
            world.bars[(row * i_all + i) * kernel.N_BAR + kernel.BAR_CLOSE],
            copies.accounts[a + kernel.EQUITY], copies.accounts[a + kernel.PEAK], copies.positions[p + kernel.AGE],
            world.rules[i * kernel.N_RULES + kernel.RULE_MULTIPLIER], scratch, s,
        )  # fmt: skip
        if world.remembers:
            memory = (c * i_all + i) * N_MEMORY
            own_history.fill_history(copies.memories, scratch, memory, s + own_state.N_POSITION)
        invested = scratch[s] if i_all == 1 else _invested(world, copies, c, i_all, row)
        scratch[s + own_state.CASH_SHARE] = 1.0 - invested
        for j in range(n):
            value = (scratch[s + world.own_columns[j]] - world.own[n + j]) * world.own[2 * n + j]
            seen[k + i * n + j] = min(max(value, -LIMIT), LIMIT)
