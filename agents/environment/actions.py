"""What an agent may do: the kinds of actions, their spaces and words, and which of them make sense at a moment."""

from typing import Any

import numpy as np
from gymnasium import spaces

from core.simulation import kernel
from core.simulation.compiled import inlined

CHOICE, STEPS, TARGET = "choice", "steps", "target"
KINDS = {CHOICE: kernel.CHOICE, STEPS: kernel.STEPS, TARGET: kernel.CONTINUOUS}
SHARES = (25, 50, 75, 100)  # percent of the way, of the nine actions
LABELS: dict[str, tuple[str, ...]] = {
    CHOICE: ("hold", "buy", "sell"),
    STEPS: ("hold", *(f"buy {share} %" for share in SHARES), *(f"sell {share} %" for share in SHARES)),
    TARGET: (),
}


def n_choices(action: str) -> int:
    """How many actions there are to choose from, 0 for a continuous one."""
    return len(LABELS[action])


def space_of(action: str, n_instruments: int = 1) -> spaces.Space[Any]:
    """One instrument: Discrete(3), Discrete(9) or Box(-1, 1, (1,)); several: MultiDiscrete or Box of one each."""
    if action == TARGET:
        return spaces.Box(-1.0, 1.0, (n_instruments,), np.float32)
    if n_instruments == 1:
        return spaces.Discrete(n_choices(action))
    return spaces.MultiDiscrete([n_choices(action)] * n_instruments)


def refuse(action: str, value: float) -> None:
    """Say what is wrong with an action the kernel has no meaning for. Raises: ValueError."""
    if np.isnan(value):
        raise ValueError("action is NaN: the policy has diverged; restart from a sound version")
    raise ValueError(f"{action} actions are whole numbers from 0 to {n_choices(action) - 1}, got {value:g}")


@inlined
def is_buy(kind: int, action: int) -> bool:
    """Whether a choice, or one of the nine steps, buys; neither holding nor selling does."""
    return action == kernel.BUY if kind == kernel.CHOICE else 1 <= action <= 4


@inlined
def fill_masks(
    kind: int,
    n_actions: int,
    accounts: np.ndarray,
    a: int,
    positions: np.ndarray,
    p: int,
    close: float,
    rules: np.ndarray,
    r: int,
    masks: np.ndarray,
    k: int,
) -> None:
    """Write which actions make sense for one instrument to masks from place k on, (n_actions,) bool.

    Holding always does. Buying does where it would raise the quantity, selling where it would lower it: not at the
    target already, not when flat without short selling. Nothing else does while the rest of a protective close or a
    forced sale goes first, for decisions are not carried out then.
    """
    held = positions[p + kernel.QUANTITY]
    free = (
        accounts[a + kernel.PENDING_FORCE] == 0.0
        and positions[p + kernel.REST] == 0.0
        and positions[p + kernel.FORCED_FLAT] == 0.0
    )
    masks[k] = True
    for action in range(1, n_actions):
        target = kernel.target_at(kind, float(action), accounts, a, positions, p, close, rules, r)
        masks[k + action] = free and (target > held if is_buy(kind, action) else target < held)
