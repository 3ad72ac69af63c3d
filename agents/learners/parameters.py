"""Parameters of an algorithm as a study drew or a person set them; what makes no sense is refused by name. Pure."""

from collections.abc import Mapping
from math import isfinite
from typing import Any


def whole(given: Mapping[str, Any], name: str, usual: int, least: int = 1) -> int:
    """A whole number; what a range drew in between is cut. Raises: ValueError below `least`."""
    value = given.get(name, usual)
    if not isfinite(value) or int(value) < least:
        raise ValueError(f"{name}: got {value!r}, expected a whole number of at least {least}; correct training.search")
    return int(value)


def number(given: Mapping[str, Any], name: str, usual: float, most: float | None = None) -> float:
    """A finite number of at least 0. Raises: ValueError for another, or one above `most`."""
    value = float(given.get(name, usual))
    if not isfinite(value) or value < 0.0 or (most is not None and value > most):
        limits = "of at least 0" if most is None else f"from 0 to {most:g}"
        raise ValueError(f"{name}: got {value!r}, expected a number {limits}; correct training.search")
    return value


def entropy_target(given: Mapping[str, Any]) -> str | float:
    """How much chance SAC is to keep: auto (minus the number of actions), or the entropy in nats."""
    value = given.get("target_entropy", "auto")
    return value if value == "auto" else float(value)


def minibatch(wanted: int, n_rows: int) -> int:
    """The size of minibatches: at most all rows, and none of a single row, whose spread cannot be told."""
    for size in range(min(wanted, n_rows), 1, -1):
        if n_rows % size != 1:
            return size
    return n_rows
