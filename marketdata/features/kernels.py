"""The state of everything calculated here for one series; a batch takes all bars at once, a stream one at a time."""

import numpy as np

from marketdata.calendars import Sessions
from marketdata.features import market_kernel, price_kernel
from marketdata.features.inputs import Rows, per_year, rows_of, sessions_table
from marketdata.features.plan import Plan


class Kernels:
    """Feed it bars in order. It remembers what its windows need, never the history."""

    def __init__(self, plan: Plan, interval_seconds: int, sessions: Sessions | None) -> None:
        scale = per_year(interval_seconds)
        self._plan, self._interval = plan, interval_seconds
        self._price, self._volume = price_kernel.price_state(scale), price_kernel.volume_state()
        self._calendar = np.full(1, np.nan)
        self._cross = market_kernel.cross_state(interval_seconds, scale)
        self._sentiment = market_kernel.sentiment_state()
        self._waiting = {name: np.empty((0, 2)) for name in ("vix", "underlying", "scores")}
        self._has = {
            name: bool((getattr(plan, name) >= 0).any())
            for name in ("price", "volume", "calendar", "cross", "sentiment")
        }
        self.use_sessions(sessions)

    def use_sessions(self, sessions: Sessions | None) -> None:
        """Know these sessions from the next bar on."""
        self._sessions = sessions_table(sessions)

    def tell(self, name: str, rows: Rows) -> None:
        """Keep new rows of "vix", "underlying" or "scores" until the bar that may know them."""
        new = rows_of(rows)
        if not len(new):
            return
        waiting = self._waiting[name]
        if not len(waiting):
            self._waiting[name] = new
            return
        if name != "scores" and new[0, 0] <= waiting[-1, 0]:
            raise ValueError(f"{name}: a row of {new[0, 0]:.0f} came after one of {waiting[-1, 0]:.0f}; sort them")
        merged = np.concatenate([waiting, new])
        self._waiting[name] = merged[np.argsort(merged[:, 0], kind="stable")]

    def take(self, table: np.ndarray, out: np.ndarray) -> None:
        """Calculate for every bar. table: (T, 6) bars; out: (T, n), NaN before."""
        plan, has = self._plan, self._has
        if has["price"]:
            price_kernel.price_run(self._price, table, plan.price, out)
        if has["calendar"] or has["volume"] or has["sentiment"]:
            closes, session = np.empty(len(table)), np.empty(len(table))
            market_kernel.calendar_run(
                self._calendar, self._interval, table, self._sessions, plan.calendar, closes, session, out
            )
            if has["volume"]:
                price_kernel.volume_run(self._volume, table, session, plan.volume, out)
            if has["sentiment"]:
                taken = market_kernel.sentiment_run(
                    self._sentiment, closes, self._waiting["scores"], plan.sentiment, out
                )
                self._took("scores", taken)
        if has["cross"]:
            vix, underlying = market_kernel.cross_run(
                self._cross, table, self._waiting["vix"], self._waiting["underlying"], plan.cross, out
            )
            self._took("vix", vix)
            self._took("underlying", underlying)

    def _took(self, name: str, count: int) -> None:
        if count:
            self._waiting[name] = self._waiting[name][count:]
