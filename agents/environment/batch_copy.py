"""One copy of an environment within a step: how it begins, decides, remembers and ends. i_all: its instruments.

The number of instruments is handed over beside the world, so that the compiler can be told that it is one.
"""

import numpy as np

from agents.environment import own_history
from agents.environment.batch_arrays import (
    END,
    GOES_ON,
    MARKET,
    N_PLACE,
    ROW,
    TERMINATED,
    TRUNCATED,
    WINDOW,
    Copies,
    Results,
    World,
)
from agents.environment.batch_observe import observe
from agents.environment.episodes import next_window
from agents.environment.own_history import N_MEMORY
from agents.environment.random_state import below
from agents.environment.randomise import draw_costs
from core.simulation import kernel
from core.simulation.compiled import inlined


@inlined
def rules_at(world: World, copies: Copies, c: int, i_all: int) -> int:
    """Where a copy's rules begin."""
    return c * i_all * kernel.N_RULES if world.costs > 0.0 else 0


@inlined
def begin(world: World, copies: Copies, c: int, i_all: int, scratch: np.ndarray) -> None:
    """Start a new episode of copy c: market, window and costs are drawn, the account is new."""
    place = c * N_PLACE
    n_markets = len(world.offsets)
    copies.places[place + MARKET] = below(copies.random, c, n_markets) if n_markets > 1 else 0
    copies.places[place + ROW], copies.places[place + END], copies.places[place + WINDOW] = next_window(
        world.episodes, copies.random, c, world.first, world.last, world.length, copies.places[place + WINDOW]
    )
    if world.costs > 0.0:
        draw_costs(world.costs, copies.random, c, world.rules, copies.rules, rules_at(world, copies, c, i_all), i_all)
    kernel.reset_at(
        copies.accounts, c * kernel.N_ACCOUNT, copies.positions, c * i_all * kernel.N_POSITION, world.start_cash, i_all
    )
    copies.returns[c], copies.lengths[c] = 0.0, 0
    if world.remembers:
        row = world.offsets[copies.places[place + MARKET]] + copies.places[place + ROW]
        for i in range(i_all):
            close = world.bars[(row * i_all + i) * kernel.N_BAR + kernel.BAR_CLOSE]
            own_history.forget(copies.memories, close, world.start_cash, (c * i_all + i) * N_MEMORY)
    observe(world, copies, c, i_all, scratch, copies.observations)


@inlined
def decide(
    world: World, copies: Copies, c: int, i_all: int, actions: np.ndarray, row: int, targets: np.ndarray
) -> float:
    """Write what copy c aims at, at the close of `row`. Returns: minus what its continuous actions changed by."""
    changed, r = 0.0, rules_at(world, copies, c, i_all)
    for i in range(i_all):
        q = c * i_all + i
        p, close = q * kernel.N_POSITION, world.bars[(row * i_all + i) * kernel.N_BAR + kernel.BAR_CLOSE]
        rule = r + i * kernel.N_RULES
        targets[q] = kernel.target_at(
            world.kind, actions[q], copies.accounts, c * kernel.N_ACCOUNT, copies.positions, p, close, copies.rules,
            rule,
        )  # fmt: skip
        if world.kind == kernel.CONTINUOUS:
            before = copies.positions[p + kernel.LAST_ACTION]
            changed -= abs(actions[q] - before) if before == before else 0.0
        copies.positions[p + kernel.LAST_ACTION] = actions[q]
        if world.remembers:
            # What must be closed counts as wanted to be closed, live too.
            forced = copies.accounts[c * kernel.N_ACCOUNT + kernel.PENDING_FORCE] != 0.0
            forced = forced or copies.positions[p + kernel.FORCED_FLAT] != 0.0
            own_history.add_decision(
                copies.memories, 0.0 if forced else targets[q], close,
                copies.accounts[c * kernel.N_ACCOUNT + kernel.EQUITY],
                copies.rules[rule + kernel.RULE_MULTIPLIER], q * N_MEMORY,
            )  # fmt: skip
    return changed


@inlined
def remember(world: World, copies: Copies, c: int, i_all: int, row: int, fills: np.ndarray) -> None:
    """Add what the bar `row` did to the memories of copy c."""
    r = rules_at(world, copies, c, i_all)
    for i in range(i_all):
        q = c * i_all + i
        bar, rule = (row * i_all + i) * kernel.N_BAR, r + i * kernel.N_RULES
        held = copies.positions[q * kernel.N_POSITION + kernel.QUANTITY]
        first, m = q * 2 * kernel.N_FILL, q * N_MEMORY
        split = world.bars[bar + kernel.BAR_SPLIT]
        if split != 1.0:
            lot, before = copies.rules[rule + kernel.RULE_LOT], copies.memories[m + own_history.QUANTITY]
            own_history.split_units(copies.memories, split, kernel.split_quantity(before, split, lot), m)
        multiplier = copies.rules[rule + kernel.RULE_MULTIPLIER]
        for slot in range(2):
            f = first + slot * kernel.N_FILL
            traded = fills[f + kernel.FILL_TRADED]
            if traded != 0.0:
                # Not by adding up: the sum of fractional lots may miss zero by a hair.
                later = fills[first + kernel.N_FILL + kernel.FILL_TRADED] if slot == 0 else 0.0
                own_history.add_fill(
                    copies.memories, traded, fills[f + kernel.FILL_PRICE], fills[f + kernel.FILL_COMMISSION],
                    held - later, multiplier, m,
                )  # fmt: skip
        equity = copies.accounts[c * kernel.N_ACCOUNT + kernel.EQUITY]
        own_history.close_bar(copies.memories, world.bars[bar + kernel.BAR_CLOSE], equity, m)


@inlined
def ending(world: World, copies: Copies, c: int) -> int:
    """Whether the episode of copy c is over after the bar it stands at."""
    if copies.accounts[c * kernel.N_ACCOUNT + kernel.TERMINATED] != 0.0:
        return TERMINATED
    place = c * N_PLACE
    return TRUNCATED if copies.places[place + ROW] >= copies.places[place + END] else GOES_ON


@inlined
def show_end(world: World, copies: Copies, results: Results, c: int, i_all: int, again: bool) -> None:
    """Keep how the episode of copy c ended, and start its next one where `again` says so."""
    results.final_returns[c], results.final_lengths[c] = copies.returns[c], copies.lengths[c]
    observe(world, copies, c, i_all, results.scratch, results.final_observations)
    if again:
        begin(world, copies, c, i_all, results.scratch)
    else:
        observe(world, copies, c, i_all, results.scratch, copies.observations)
