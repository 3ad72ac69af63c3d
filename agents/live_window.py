"""The last bars' features as a network sees them live: each row by the scale of its own bar, as in training."""

from collections import deque

import numpy as np

from agents.market_view import MarketView
from agents.policies.normaliser import Scale
from agents.policies.policy import ServedPolicy


class LiveWindow:
    """Scaled rows carried from bar to bar; after a start, a gap or a step back they are made from the history.

    Both ways give the same rows: the normaliser's series over all bars is what training uses.
    """

    def __init__(self, policy: ServedPolicy) -> None:
        self.policy = policy
        self._rows: deque[np.ndarray] = deque(maxlen=policy.window)
        self._time: int | None = None  # start of the newest bar among them
        self._reading = -1  # which of the view's readings of the history they belong to

    def rows(self, view: MarketView, values: np.ndarray, scale: Scale) -> np.ndarray:
        """Scaled rows (w, n), oldest first, w up to the window; fewer where there are no bars before.

        view: after its `features`; values: (n,) raw features of its newest bar; scale: of that bar.
        """
        newest = self.policy.scaled_rows(values, scale)
        if self.policy.window == 1:
            return newest
        times = view.times
        follows = len(times) > 1 and self._time == times[-2] and self._reading == view.n_readings
        if not follows:
            earlier = self.policy.normaliser.apply_series(view.history()[:-1], times[:-1])
            self._rows = deque(earlier[-self.policy.window :], maxlen=self.policy.window)
        self._rows.append(newest[0])
        self._time, self._reading = int(times[-1]), view.n_readings
        return np.array(self._rows)
