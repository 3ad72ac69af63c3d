"""Ticks of one instrument as arrays. Pure, no database."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

TRADE, QUOTE = 1, 2
_KINDS: dict[str, object] = {
    "time": np.int64, "kind": np.int8, "price": np.float64, "size": np.float64, "bid": np.float64,
    "bid_size": np.float64, "ask": np.float64, "ask_size": np.float64, "sequence": np.int64, "exchange": "S8",
    "condition": "S12",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class TickBatch:
    """Trades and quotes as they came, in any order; every array has shape (T,), T may be 0.

    Raises: ValueError when the arrays differ in shape.
    """

    time: np.ndarray  # int64 microseconds since 1970-01-01 UTC
    kind: np.ndarray  # int8, TRADE or QUOTE
    price: np.ndarray  # float64, of a trade, NaN for a quote
    size: np.ndarray  # float64, units of a trade, NaN for a quote
    bid: np.ndarray  # float64, of a quote, NaN for a trade or when there is no bid; the next three alike
    bid_size: np.ndarray
    ask: np.ndarray
    ask_size: np.ndarray
    sequence: np.ndarray  # int64, the source's own number of the print, 0 without one
    exchange: np.ndarray  # bytes, at most 8
    condition: np.ndarray  # bytes, at most 12

    def __post_init__(self) -> None:
        size = np.size(self.time)
        for name, kind in _KINDS.items():
            array = np.ascontiguousarray(getattr(self, name), dtype=kind)  # type: ignore[call-overload]
            if array.shape != (size,):
                raise ValueError(f"{name} has shape {array.shape}, expected ({size},): pass one value per tick")
            object.__setattr__(self, name, array)

    @classmethod
    def empty(cls) -> TickBatch:
        """No ticks."""
        return cls(*(np.empty(0) for _ in fields(cls)))

    @classmethod
    def trades(
        cls,
        time: np.ndarray,
        price: np.ndarray,
        size: np.ndarray,
        *,
        sequence: np.ndarray | int = 0,
        exchange: np.ndarray | bytes = b"",
        condition: np.ndarray | bytes = b"",
    ) -> TickBatch:
        """A batch of trades only; time in microseconds since 1970 UTC."""
        n = np.size(time)
        none = np.full(n, np.nan)
        return cls(
            time, np.full(n, TRADE), price, size, none, none, none, none, np.broadcast_to(sequence, n),
            np.broadcast_to(np.asarray(exchange, dtype="S8"), n),
            np.broadcast_to(np.asarray(condition, dtype="S12"), n),
        )  # fmt: skip

    def __len__(self) -> int:
        return int(self.time.size)

    def take(self, part: slice | np.ndarray) -> TickBatch:
        """The ticks at these positions, in their order."""
        return replace(self, **{name: getattr(self, name)[part] for name in _KINDS})
