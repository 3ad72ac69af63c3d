"""TA-Lib's stream handles of one specification, opened as soon as there are enough bars."""

from collections.abc import Callable

import numpy as np
import talib

from marketdata.features.batch import COLUMN, outputs
from marketdata.features.plan import Plan
from marketdata.features.recipes import fill, no_outputs
from marketdata.features.talib_features import Indicator

_ROW = np.zeros(1, dtype=np.int64)
# Inputs that handles are called with, in the order they are asked.
_KINDS = (
    ("close",), ("high", "low"), ("high", "low", "close"), ("open", "high", "low", "close"), ("volume",),
    ("close", "volume"), ("high", "low", "close", "volume"),
)  # fmt: skip


class Handles:
    """Indicators that see the same bars: those of prices, or those of volume too.

    Until an indicator's handle is open the bars since the first are kept; afterwards only the handles remember.
    """

    def __init__(self, plan: Plan, needs_volume: bool) -> None:
        mine = [i for i in plan.indicators if i.needs_volume == needs_volume]
        order = sorted(mine, key=lambda i: (_KINDS.index(i.inputs), i.n_outputs() > 1))
        self.indicators: tuple[Indicator, ...] = tuple(order)
        self._filling = plan.filling(self.indicators)
        self._open: list = [None] * len(order)
        self._before = no_outputs(sum(i.n_outputs() for i in order))
        self._history: list[tuple[float, ...]] | None = []
        self._calls: list[tuple[tuple[int, ...], list[Callable], list[Callable]]] = []
        self._close = np.empty(1)

    def warm(self, columns: dict[str, np.ndarray]) -> None:
        """Start from history, column by column, of which the batch has made the features. Only before any update."""
        count = len(columns["close"])
        last = [outputs(i, columns)[:, -1] for i in self.indicators] if count else []
        if last:
            self._before[:] = np.concatenate(last)
        self._open = [self._opened(i, columns) for i in self.indicators]
        self._history = list(zip(*(columns[name].tolist() for name in COLUMN), strict=True))
        self._settle()

    def update(self, bar: tuple[float, ...], out: np.ndarray) -> None:
        """Take one bar (open, high, low, close, volume) and write its features into out (1, n)."""
        raw = self._early(bar) if self._history is not None else self._usual(bar)
        self._close[0] = bar[3]
        filling = self._filling
        fill(
            filling.recipes, filling.first, filling.second, filling.columns,
            raw, self._before, self._close, _ROW, out,
        )  # fmt: skip

    def _usual(self, bar: tuple[float, ...]) -> np.ndarray:
        values: list[float] = []
        for places, single, several in self._calls:
            inputs = [bar[place] for place in places]
            values += [update(*inputs) for update in single]
            for update in several:
                values += update(*inputs)
        return np.array(values, dtype=np.float64).reshape(-1, 1)

    def _early(self, bar: tuple[float, ...]) -> np.ndarray:
        """While handles are missing: open those for which the history has become long enough."""
        assert self._history is not None
        self._history.append(bar)
        table = np.array(self._history)
        columns = {name: np.ascontiguousarray(table[:, column - 1]) for name, column in COLUMN.items()}
        parts: list[np.ndarray] = []
        for number, indicator in enumerate(self.indicators):
            handle = self._open[number]
            if handle is not None:
                value = handle.update(*(bar[COLUMN[name] - 1] for name in indicator.inputs))
                parts.append(np.atleast_1d(np.asarray(value, dtype=np.float64)))
                continue
            parts.append(outputs(indicator, columns)[:, -1])
            self._open[number] = self._opened(indicator, columns)
        self._settle()
        return np.concatenate(parts).reshape(-1, 1)

    def _opened(self, indicator: Indicator, columns: dict[str, np.ndarray]) -> object | None:
        if len(columns["close"]) <= indicator.lookback():
            return None
        try:
            return indicator.handle()(*(columns[name] for name in indicator.inputs), **indicator.options)
        except talib.InsufficientHistory:
            return None

    def _settle(self) -> None:
        """Once all handles are open the history is not needed any more."""
        if any(handle is None for handle in self._open):
            return
        self._history = None
        for kind in _KINDS:
            mine = [(i, h.update) for i, h in zip(self.indicators, self._open, strict=True) if i.inputs == kind]
            if mine:
                single = [update for i, update in mine if i.n_outputs() == 1]
                several = [update for i, update in mine if i.n_outputs() > 1]
                self._calls.append((tuple(COLUMN[name] - 1 for name in kind), single, several))
