"""Whole numbers that several threads of compiled code read and change without a lock. Pure.

Places are those of a contiguous int64 array. What a thread wrote before `store` or `add` is seen by whoever reads the
new number.
"""

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from core.simulation.compiled import inlined

_NUMBERS = types.Array(types.int64, 1, "C")
_BYTES = 8


def _place(context: Any, builder: Any, args: tuple) -> Any:
    return builder.gep(make_array(_NUMBERS)(context, builder, args[0]).data, [args[1]])


@intrinsic
def _load(typing_context: Any, numbers: Any, place: Any) -> Any:
    """(numbers, place) -> int64."""

    def generate(context: Any, builder: Any, signature: Any, args: tuple) -> Any:
        return builder.load_atomic(_place(context, builder, args), "seq_cst", _BYTES)

    return types.int64(_NUMBERS, types.intp), generate


@intrinsic
def _store(typing_context: Any, numbers: Any, place: Any, value: Any) -> Any:
    """(numbers, place, value) -> None."""

    def generate(context: Any, builder: Any, signature: Any, args: tuple) -> Any:
        builder.store_atomic(args[2], _place(context, builder, args), "seq_cst", _BYTES)
        return context.get_dummy_value()

    return types.void(_NUMBERS, types.intp, types.int64), generate


@intrinsic
def _add(typing_context: Any, numbers: Any, place: Any, value: Any) -> Any:
    """(numbers, place, value) -> int64."""

    def generate(context: Any, builder: Any, signature: Any, args: tuple) -> Any:
        return builder.atomic_rmw("add", _place(context, builder, args), args[2], "seq_cst")

    return types.int64(_NUMBERS, types.intp, types.int64), generate


@inlined
def load(numbers: np.ndarray, place: int) -> int:
    """The number at a place."""
    return _load(numbers, place)  # type: ignore[call-arg, no-any-return]


@inlined
def store(numbers: np.ndarray, place: int, value: int) -> None:
    """Put a number at a place."""
    _store(numbers, place, value)  # type: ignore[call-arg]


@inlined
def add(numbers: np.ndarray, place: int, value: int) -> int:
    """Add to the number at a place. Returns: what it was before."""
    return _add(numbers, place, value)  # type: ignore[call-arg, no-any-return]
