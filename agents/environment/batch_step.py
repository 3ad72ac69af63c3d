"""One step of many copies of an environment in one compiled call. Everything that plays a market goes through here."""

import numpy as np

from agents.environment.actions import fill_masks
from agents.environment.batch_arrays import GOES_ON, MARKET, N_PLACE, ROW, Copies, Results, World
from agents.environment.batch_copy import begin, decide, ending, remember, rules_at, show_end
from agents.environment.batch_observe import observe
from agents.environment.rewards import N_COMPONENTS, pay
from core.simulation import kernel
from core.simulation.compiled import compiled, inlined


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
    i_all = world.n_instruments
    for c in range(first, stop):
        begin(world, copies, c, i_all, results.scratch)
        results.endings[c] = GOES_ON


@inlined
def _step_copies(
    world: World, copies: Copies, results: Results, actions: np.ndarray, first: int, stop: int, again: bool, i_all: int
) -> int:
    """step_part with the number of instruments beside the world: where it is 1, the compiler is to know."""
    n_ended, block = 0, i_all * kernel.N_BAR
    for c in range(first, stop):
        place, o = c * N_PLACE, c * kernel.N_OUT
        row = world.offsets[copies.places[place + MARKET]] + copies.places[place + ROW]
        changed = decide(world, copies, c, i_all, actions, row, results.targets)
        kernel.advance_at(
            copies.accounts, c * kernel.N_ACCOUNT, copies.positions, c * i_all * kernel.N_POSITION,
            world.bars, row * block, world.bars, (row + 1) * block, results.targets, c * i_all,
            copies.rules, rules_at(world, copies, c, i_all), results.out, o,
            results.fills, c * i_all * 2 * kernel.N_FILL, i_all,
        )  # fmt: skip
        results.out[o + kernel.OUT_CONSISTENCY] = changed
        if world.remembers:
            remember(world, copies, c, i_all, row + 1, results.fills)
        earned = pay(results.out, o, world.weights, results.components, c * N_COMPONENTS)
        results.rewards[c] = earned
        copies.returns[c] += earned
        copies.lengths[c] += 1
        copies.places[place + ROW] += 1
        ended = ending(world, copies, c)
        results.endings[c] = ended
        if ended == GOES_ON:
            observe(world, copies, c, i_all, results.scratch, copies.observations)
        else:
            n_ended += 1
            show_end(world, copies, results, c, i_all, again)
    return n_ended


@compiled(nogil=True, error_model="numpy")
def step_part(
    world: World, copies: Copies, results: Results, actions: np.ndarray, first: int, stop: int, again: bool
) -> int:
    """Decide at the close of each copy's bar, trade and mark in the next one, for the copies from first to stop - 1.

    actions: (n * I,) float64, checked; again: whether a copy whose episode ended starts a new one at once; then
    `observations` shows its beginning and `final_observations` how the old one ended.
    Returns: how many episodes ended.
    """
    if world.n_instruments == 1:
        return _step_copies(world, copies, results, actions, first, stop, again, 1)
    return _step_copies(world, copies, results, actions, first, stop, again, world.n_instruments)


@compiled(nogil=True, error_model="numpy")
def mask_part(world: World, copies: Copies, masks: np.ndarray, n_actions: int, first: int, stop: int) -> None:
    """Write which actions make sense to masks (n * I * n_actions,) bool, for the copies from first to stop - 1."""
    i_all = world.n_instruments
    for c in range(first, stop):
        row = world.offsets[copies.places[c * N_PLACE + MARKET]] + copies.places[c * N_PLACE + ROW]
        for i in range(i_all):
            q = c * i_all + i
            close = world.bars[(row * i_all + i) * kernel.N_BAR + kernel.BAR_CLOSE]
            fill_masks(
                world.kind, n_actions, copies.accounts, c * kernel.N_ACCOUNT, copies.positions,
                q * kernel.N_POSITION, close, copies.rules, rules_at(world, copies, c, i_all) + i * kernel.N_RULES,
                masks, q * n_actions,
            )  # fmt: skip
