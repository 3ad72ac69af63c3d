"""What an algorithm says of itself, and the table of all that have registered. Pure."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import agents.algorithms

if TYPE_CHECKING:
    from agents.algorithms.base import Learner, LearnerRequest


TPU = "tpu"  # the backend in JAX
# Kinds of network a backend can learn, where these are not all.
NETWORKS_ON: dict[str, tuple[str, ...]] = {TPU: ("mlp",)}

# Optional parameters that relatives share.
ROLLOUTS: dict[str, dict[str, Any]] = {
    "gae_lambda": {"low": 0.01, "high": 1.0},  # how far an advantage looks ahead
    "n_copies": {"low": 1, "high": 4_096, "whole": True},  # of the environment
}
CLIPPING: dict[str, dict[str, Any]] = ROLLOUTS | {
    "n_epochs": {"low": 1, "high": 50, "whole": True},  # times every rollout is learned from
    "clip_range": {"low": 0.01, "high": 1.0},  # largest change of an action's probability that pays, as a share
    "target_kl": {"low": 0.001, "high": 1.0},  # change of the policy that ends an update early
}
REPLAYING: dict[str, dict[str, Any]] = {
    "tau": {"low": 0.001, "high": 1.0},  # share by which the target network follows
    "steps_per_update": {"low": 1, "high": 1_024, "whole": True},  # of all copies together, per gradient step
}


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """One way to learn, as its module registers it."""

    name: str  # as settings say it, such as ppo
    label: str  # as people write it, such as PPO
    description: str  # one plain sentence: what it is good for
    actions: tuple[str, ...]  # kinds of action it can play, its usual one first: choice, steps, target
    networks: tuple[str, ...]  # kinds of network it can use, its usual one first: mlp, lstm, tcn, ane, recurrent
    make: "Callable[[LearnerRequest], Learner]"  # imports torch inside, so that listing costs nothing
    space: dict[str, dict[str, Any]] = field(default_factory=dict)  # what a study varies, see studies/search.py
    # What `make` reads besides, by its limits: as the library has it, and varied only where settings ask for it.
    optional: dict[str, dict[str, Any]] = field(default_factory=dict)
    on_policy: bool = True
    backends: tuple[str, ...] = ("cpu", "cuda")
    # Parameters that a backend does not have, or by which it means something else.
    lacks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    several: bool = False  # whether it can learn to trade several instruments of one account at once


_FOUND: dict[str, Algorithm] = {}
# Modules of the package that are no algorithms.
_OTHERS = {"registry", "base"}


def register(algorithm: Algorithm) -> Algorithm:
    """Add an algorithm to the table. Raises: ValueError if another module has taken its name."""
    known = _FOUND.get(algorithm.name)
    if known is not None and known.make.__module__ != algorithm.make.__module__:
        raise ValueError(f"algorithm {algorithm.name!r} is registered twice; rename one of them")
    _FOUND[algorithm.name] = algorithm
    return algorithm


def all_algorithms() -> dict[str, Algorithm]:
    """Every algorithm by name, in order of names."""
    _discover()
    return dict(sorted(_FOUND.items()))


def names() -> tuple[str, ...]:
    """Names of all algorithms."""
    return tuple(all_algorithms())


def get(name: str) -> Algorithm:
    """The algorithm of that name. Raises: ValueError naming the known ones."""
    found = all_algorithms().get(name)
    if found is None:
        raise ValueError(f"unknown algorithm {name!r}; known: {', '.join(names())}")
    return found


def label(name: str) -> str:
    """The name as people write it; unknown names as they are."""
    found = all_algorithms().get(name)
    return found.label if found else name


@cache
def _discover() -> None:
    for module in pkgutil.iter_modules(agents.algorithms.__path__):
        if not module.ispkg and module.name not in _OTHERS and not module.name.startswith("_"):
            importlib.import_module(f"agents.algorithms.{module.name}")
