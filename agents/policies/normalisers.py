"""The four normalisers by name: fitting one, and reading one from a model version."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.policies.normaliser import MINMAX, ROBUST, ZSCORE, Normaliser, Scale
from agents.policies.online_normaliser import HALF_LIFE, ONLINE, OnlineNormaliser

KINDS = (ZSCORE, ROBUST, MINMAX, ONLINE)
AnyNormaliser = Normaliser | OnlineNormaliser


@dataclass(frozen=True)
class NormaliserChoice:
    """Which one, and how fast the online one forgets. Raises: ValueError for an unknown kind or no half-life."""

    kind: str = ZSCORE
    half_life: float = HALF_LIFE  # bars, of the online one

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"got {self.kind!r}, expected one of {', '.join(KINDS)}")
        number = isinstance(self.half_life, int | float) and not isinstance(self.half_life, bool)
        if not number or not 0 < self.half_life < np.inf:
            raise ValueError(f"got {self.half_life!r}, expected a number of bars above 0")


def fit(choice: NormaliserChoice, raw: np.ndarray, time: np.ndarray, first: int, last: int) -> AnyNormaliser:
    """Fit on the training rows `first` to `last` of raw (T, n), which begins with the first stored bar.

    The online one remembers the rows before `first` too, as far as their values are known. Raises: ValueError.
    """
    if choice.kind == ONLINE:
        return OnlineNormaliser.fit(raw[: last + 1], time[: last + 1], choice.half_life)
    return Normaliser.fit(raw[first : last + 1], choice.kind)


def from_dict(values: dict[str, Any]) -> AnyNormaliser:
    """The reverse of a normaliser's to_dict. Raises: ValueError."""
    kind: type[AnyNormaliser] = OnlineNormaliser if values.get("kind") == ONLINE else Normaliser
    return kind.from_dict(values)


class LiveScale:
    """The scale of the newest bar, bar after bar; an online normaliser's state is carried along in memory.

    What a process has carried along equals what another one finds that starts from the saved state.
    """

    def __init__(self, normaliser: AnyNormaliser) -> None:
        self.saved = self.state = normaliser

    def at(self, time: np.ndarray, before: np.ndarray, history: Callable[[], np.ndarray]) -> Scale:
        """Centre and spread for the last bar of `time` (T,).

        before: raw features (n,) of the bar before it; history: gives those of all T bars, asked for only after a
        start or a gap.
        """
        if not isinstance(self.state, OnlineNormaliser) or not isinstance(self.saved, OnlineNormaliser):
            return self.state.scale()
        if self.state.time >= time[-1]:  # a moment of the past: as saved if that is early enough, else from the start
            self.state = self.saved if self.saved.time < time[-1] else self.saved.forgotten()
        missing = len(time) - 1 - int(np.searchsorted(time, self.state.time, side="right"))
        if missing == 1:
            self.state = self.state.after(before[None], time[-2:-1])
        elif missing > 1:
            self.state = self.state.after(history()[:-1], time[:-1])
        return self.state.scale()
