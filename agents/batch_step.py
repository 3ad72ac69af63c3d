"""One step of many copies of an environment in one compiled call. Everything that plays a market goes through here."""

import numpy as np

from agents import own_history
from agents.actions import fill_masks
from agents.atomics import add, load, store
from agents.batch_arrays import (
    END,
    GOES_ON,
    MARKET,
    N_PLACE,
    PART,
    ROW,
    TERMINATED,
    TRUNCATED,
    WINDOW,
    Copies,
    Results,
    World,
)
from agents.batch_observe import observe
from agents.episodes import next_window
from agents.own_history import N_MEMORY
from agents.random_state import below
from agents.randomise import draw_costs
from agents.rewards import N_COMPONENTS, pay
from core.simulation import kernel
from core.simulation.compiled import compiled, inlined

# The board on which threads agree, a number per cache line of 64 bytes.
NEXT, DONE, ENDED, CALLS, CLOSED = 0, 8, 16, 24, 32  # next copy to take, copies done, episodes ended, steps so far
N_BOARD = 40


@inlined
def _rules_at(world: World, copies: Copies, c: int) -> int:
    """Where a copy's rules begin."""
    return c * world.n_instruments * kernel.N_RULES if world.costs > 0.0 else 0


@inlined
def _begin(world: World, copies: Copies, c: int, scratch: np.ndarray) -> None:
    """Start a new episode of copy c: market, window and costs are drawn, the account is new."""
    place, i_all = c * N_PLACE, world.n_instruments
    n_markets = len(world.offsets)
    copies.places[place + MARKET] = below(copies.random, c, n_markets) if n_markets > 1 else 0
    copies.places[place + ROW], copies.places[place + END], copies.places[place + WINDOW] = next_window(
        world.episodes, copies.random, c, world.first, world.last, world.length, copies.places[place + WINDOW]
    )
    if world.costs > 0.0:
        draw_costs(world.costs, copies.random, c, world.rules, copies.rules, _rules_at(world, copies, c), i_all)
    kernel.reset_at(
        copies.accounts, c * kernel.N_ACCOUNT, copies.positions, c * i_all * kernel.N_POSITION, world.start_cash, i_all
    )
    copies.returns[c], copies.lengths[c] = 0.0, 0
    if world.remembers:
        row = world.offsets[copies.places[place + MARKET]] + copies.places[place + ROW]
        for i in range(i_all):
            close = world.bars[(row * i_all + i) * kernel.N_BAR + kernel.BAR_CLOSE]
            own_history.forget(copies.memories, close, world.start_cash, (c * i_all + i) * N_MEMORY)
    observe(world, copies, c, scratch, copies.observations)


@inlined
def _decide(world: World, copies: Copies, c: int, actions: np.ndarray, row: int, targets: np.ndarray) -> float:
    """Write what copy c aims at, at the close of `row`. Returns: minus what its continuous actions changed by."""
    changed, r = 0.0, _rules_at(world, copies, c)
    for i in range(world.n_instruments):
        q = c * world.n_instruments + i
        p, close = q * kernel.N_POSITION, world.bars[(row * world.n_instruments + i) * kernel.N_BAR + kernel.BAR_CLOSE]
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
def _remember(world: World, copies: Copies, c: int, row: int, fills: np.ndarray) -> None:
    """Add what the bar `row` did to the memories of copy c."""
    r = _rules_at(world, copies, c)
    for i in range(world.n_instruments):
        q = c * world.n_instruments + i
        bar, rule = (row * world.n_instruments + i) * kernel.N_BAR, r + i * kernel.N_RULES
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


@compiled(error_model="numpy")
def first_refused(actions: np.ndarray, n_actions: int) -> int:
    """Place of the first action that is NaN, or no whole number below n_actions where that is above 0; -1 for none."""
    for k in range(len(actions)):
        action = actions[k]
        if action != action:
            return k
        if n_actions > 0 and not (0.0 <= action < n_actions and action == np.floor(action)):
            return k
    return -1


@compiled(nogil=True, error_model="numpy")
def begin_part(world: World, copies: Copies, results: Results, first: int, stop: int) -> None:
    """Start a new episode of the copies from first to stop - 1."""
    for c in range(first, stop):
        _begin(world, copies, c, results.scratch)
        results.endings[c] = GOES_ON


@inlined
def _ending(world: World, copies: Copies, c: int) -> int:
    """Whether the episode of copy c is over after the bar it stands at."""
    if copies.accounts[c * kernel.N_ACCOUNT + kernel.TERMINATED] != 0.0:
        return TERMINATED
    place = c * N_PLACE
    return TRUNCATED if copies.places[place + ROW] >= copies.places[place + END] else GOES_ON


@inlined
def _show_end(world: World, copies: Copies, results: Results, c: int, again: bool) -> None:
    """Keep how the episode of copy c ended, and start its next one where `again` says so."""
    results.final_returns[c], results.final_lengths[c] = copies.returns[c], copies.lengths[c]
    observe(world, copies, c, results.scratch, results.final_observations)
    if again:
        _begin(world, copies, c, results.scratch)
    else:
        observe(world, copies, c, results.scratch, copies.observations)


@compiled(nogil=True, error_model="numpy")
def step_part(
    world: World, copies: Copies, results: Results, actions: np.ndarray, first: int, stop: int, again: bool
) -> int:
    """Decide at the close of each copy's bar, trade and mark in the next one, for the copies from first to stop - 1.

    actions: (n * I,) float64, checked; again: whether a copy whose episode ended starts a new one at once; then
    `observations` shows its beginning and `final_observations` how the old one ended.
    Returns: how many episodes ended.
    """
    i_all, n_ended = world.n_instruments, 0
    block = i_all * kernel.N_BAR
    for c in range(first, stop):
        place, o = c * N_PLACE, c * kernel.N_OUT
        row = world.offsets[copies.places[place + MARKET]] + copies.places[place + ROW]
        changed = _decide(world, copies, c, actions, row, results.targets)
        kernel.advance_at(
            copies.accounts, c * kernel.N_ACCOUNT, copies.positions, c * i_all * kernel.N_POSITION,
            world.bars, row * block, world.bars, (row + 1) * block, results.targets, c * i_all,
            copies.rules, _rules_at(world, copies, c), results.out, o, results.fills, c * i_all * 2 * kernel.N_FILL,
            i_all,
        )  # fmt: skip
        results.out[o + kernel.OUT_CONSISTENCY] = changed
        if world.remembers:
            _remember(world, copies, c, row + 1, results.fills)
        earned = pay(results.out, o, world.weights, results.components, c * N_COMPONENTS)
        results.rewards[c] = earned
        copies.returns[c] += earned
        copies.lengths[c] += 1
        copies.places[place + ROW] += 1
        ending = _ending(world, copies, c)
        results.endings[c] = ending
        if ending == GOES_ON:
            observe(world, copies, c, results.scratch, copies.observations)
        else:
            n_ended += 1
            _show_end(world, copies, results, c, again)
    return n_ended


@inlined
def _take_parts(
    world: World, copies: Copies, results: Results, actions: np.ndarray, again: bool, board: np.ndarray
) -> None:
    """Step parts of the copies until none is left that nobody has taken."""
    n = len(results.rewards)
    while True:
        first = add(board, NEXT, PART)
        if first >= n:
            return
        stop = min(first + PART, n)
        n_ended = step_part(world, copies, results, actions, first, stop, again)
        add(board, ENDED, n_ended)
        add(board, DONE, stop - first)


@compiled(nogil=True, error_model="numpy")
def step_together(
    world: World, copies: Copies, results: Results, actions: np.ndarray, again: bool, board: np.ndarray
) -> int:
    """step_part of all copies, shared with the threads in `help_along`. Returns: how many episodes ended."""
    store(board, ENDED, 0)
    store(board, DONE, 0)
    store(board, NEXT, 0)  # from here on parts may be taken
    store(board, CALLS, load(board, CALLS) + 1)
    _take_parts(world, copies, results, actions, again, board)
    while load(board, DONE) < len(results.rewards):
        pass  # others are at their last parts, some microseconds each
    return load(board, ENDED)


@compiled(nogil=True, error_model="numpy")
def help_along(
    world: World, copies: Copies, results: Results, actions: np.ndarray, again: bool, board: np.ndarray, patience: int
) -> None:
    """In another thread: take part in every step_together, until none has begun for `patience` looks at the board."""
    seen, looks = load(board, CALLS), 0
    _take_parts(world, copies, results, actions, again, board)
    while looks < patience and load(board, CLOSED) == 0:
        looks += 1
        if load(board, CALLS) != seen:
            seen, looks = load(board, CALLS), 0
            _take_parts(world, copies, results, actions, again, board)


@compiled(nogil=True, error_model="numpy")
def mask_part(world: World, copies: Copies, masks: np.ndarray, n_actions: int, first: int, stop: int) -> None:
    """Write which actions make sense to masks (n * I * n_actions,) bool, for the copies from first to stop - 1."""
    for c in range(first, stop):
        row = world.offsets[copies.places[c * N_PLACE + MARKET]] + copies.places[c * N_PLACE + ROW]
        for i in range(world.n_instruments):
            q = c * world.n_instruments + i
            close = world.bars[(row * world.n_instruments + i) * kernel.N_BAR + kernel.BAR_CLOSE]
            fill_masks(
                world.kind, n_actions, copies.accounts, c * kernel.N_ACCOUNT, copies.positions,
                q * kernel.N_POSITION, close, copies.rules, _rules_at(world, copies, c) + i * kernel.N_RULES,
                masks, q * n_actions,
            )  # fmt: skip
