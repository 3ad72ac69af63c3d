"""What an sbx learner has learned, as numpy arrays by name and back, bit for bit. Pure, but for importing JAX.

flax keeps weights, optimiser and random keys as trees of arrays; an array's name is its path through them.
"""

from typing import Any

import jax
import numpy as np

from agents.learners.guard import ADVICE, TrainingDiverged
from agents.learners.state import Arrays

OF_POLICY = ("actor_state", "vf_state", "qf_state", "key", "noise_key")
OF_MODEL = ("ent_coef_state", "key")


def learned_arrays(model: Any) -> Arrays:
    """Weights, target weights, optimisers and random keys, copied."""
    return {name: np.array(value) for name, value in _named(_tree(model))}


def restore_learned(model: Any, arrays: Arrays) -> None:
    """The reverse; other names are ignored. Raises: KeyError, ValueError if one is missing or of another shape."""
    tree = _tree(model)
    leaves = [_like(value, arrays[name], name) for name, value in _named(tree)]
    for (owner, name), value in jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(tree), leaves).items():
        setattr(model if owner == "model" else model.policy, name, value)


def check_weights(model: Any, steps_done: int) -> None:
    """Look at every weight. Raises: TrainingDiverged naming the array."""
    states = {key: value.params for key, value in _tree(model).items() if hasattr(value, "params")}
    for name, value in _named(states):
        if not np.isfinite(np.asarray(value)).all():
            short = name.removeprefix("learned/policy/")
            raise TrainingDiverged(
                f"weight {short} became NaN or infinite after {steps_done} steps; {ADVICE['weight']}"
            )


def _tree(model: Any) -> dict[tuple[str, str], Any]:
    """All of it by its owner and the name it has there."""
    parts = (("policy", model.policy, OF_POLICY), ("model", model, OF_MODEL))
    return {
        (owner, name): getattr(holder, name)
        for owner, holder, names in parts
        for name in names
        if hasattr(holder, name)
    }


def _named(tree: dict[tuple[str, str], Any]) -> list[tuple[str, Any]]:
    """Every array of the trees with its path, such as learned/policy/actor_state/params/params/Dense_0/kernel."""
    found = []
    for path, value in jax.tree_util.tree_leaves_with_path(tree):
        (owner, name), inner = path[0].key, path[1:]
        found.append(("/".join(["learned", owner, name, *(_step(step) for step in inner)]), value))
    return found


def _step(step: Any) -> str:
    return jax.tree_util.keystr((step,), simple=True)


def _like(value: Any, array: np.ndarray, name: str) -> Any:
    """The array as the learner keeps it: a plain number stays one. Raises: ValueError for another shape."""
    if np.shape(value) != array.shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {np.shape(value)}")
    if isinstance(value, int | float):
        return array.item()
    return jax.numpy.asarray(array, dtype=value.dtype)
