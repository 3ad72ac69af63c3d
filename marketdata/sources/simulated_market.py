"""A market that never was: prices from a seed, second by second. Pure.

The same rules give the same prices whatever is asked first, how long the pieces are and in which process, because
nothing is drawn in passing: every session has its own generators, named by seed, purpose, driver and number.

1. Regimes: a Markov chain over half hours scales everybody's volatility. It moves to neighbouring regimes only.
2. Sessions: each driver (the market, and each instrument's own news) has one normal number for the whole session and
   one for the closed hours before; correlation comes from sharing drivers. Jumps are Poisson. This gives every open
   and close without looking inside a session, so ten years cost a fraction of a second.
3. Seconds: within a session a Brownian bridge leads from the open to exactly that close, with the variance of each
   second set by regime and time of day. The bridge of Gaussian steps given their sum is exact, not an approximation:
   Glasserman, "Monte Carlo Methods in Financial Engineering", 2003, section 3.1.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np

from marketdata import calendars
from marketdata.sources.simulated_rules import InstrumentRules, MarketRules, weights

BLOCK_SECONDS = 1800  # a regime lasts at least this long
_REGIME, _SESSION, _JUMPS, _SECONDS = 1, 2, 3, 4
_LEAST_LEFT = 0.02  # of a leveraged fund after one day; its provider would close it before


class Recent:
    """The last few results of something expensive, by key."""

    def __init__(self, n_most: int) -> None:
        self.n_most = n_most
        self.kept: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The kept result, or a new one."""
        if key not in self.kept:
            self.kept[key] = make()
            if len(self.kept) > self.n_most:
                self.kept.popitem(last=False)
        self.kept.move_to_end(key)
        return self.kept[key]


def generator(seed: int, purpose: int, name: str, *numbers: int) -> np.random.Generator:
    """Random numbers that belong to one purpose, name and place, and to nothing else."""
    return np.random.default_rng([seed, purpose, zlib.crc32(name.encode()), *numbers])


@dataclass(frozen=True, eq=False)
class Session:
    """One session as all instruments share it."""

    number: int
    opens: int  # seconds UTC
    closes: int
    states: np.ndarray  # (B,) regime of each half hour
    profile: np.ndarray  # (S,) trades and variance of each second relative to the session's mean; 0 in a lunch break
    variance: np.ndarray  # (S,) of one driver's step in each second, when a year of it has variance 1
    gap_variance: float  # the same for the hours before the open; 0 right after the last close
    years: float  # length of its trading, as part of a year's

    @property
    def n_seconds(self) -> int:
        return self.closes - self.opens


class Market:
    """Regimes, sessions and the paths of instruments; grows with what is asked of it."""

    def __init__(self, rules: MarketRules) -> None:
        self.rules = rules
        self.known = calendars.sessions(rules.calendar, rules.begins, rules.begins + timedelta(days=366))
        if len(self.known) < 2:
            raise ValueError(f"{rules.calendar} has no sessions from {rules.begins} on: let the market begin later")
        known = self.known
        lengths = known.closes - known.opens - (known.break_ends - known.break_starts)
        # Of the first year, so that it does not depend on how much of the calendar has been read.
        self.year_seconds = float(np.median(lengths)) * len(known)
        self.n_year = len(known)
        pauses = bool((known.opens[1:] > known.closes[:-1]).any())
        self.overnight = rules.overnight if pauses else 0.0
        self._states: list[np.ndarray] = []
        self._paths: dict[InstrumentRules, Path] = {}
        self._sessions, self._drivers = Recent(8), Recent(12)

    def numbers(self, start: int, end: int) -> range:
        """Numbers of the sessions that trade at some second from `start` (included) to `end` (excluded)."""
        self._know(end)
        first = int(np.searchsorted(self.known.closes, start, side="right"))
        return range(first, max(first, int(np.searchsorted(self.known.opens, end, side="left"))))

    def session(self, number: int) -> Session:
        """The session of that number, counted from the market's first."""
        return self._sessions.get(number, lambda: self._session(number))

    def _know(self, until: int) -> None:
        """Read the calendar up to a moment and a little further."""
        if until < self.known.opens[-1]:
            return
        day = min(datetime.fromtimestamp(until, UTC).date() + timedelta(days=60), date(2199, 12, 31))
        self.known = calendars.sessions(self.rules.calendar, self.rules.begins, day)

    def _session(self, number: int) -> Session:
        known, states = self.known, self._regimes(number)
        opens, closes = int(known.opens[number]), int(known.closes[number])
        shape = profile(
            closes - opens, int(known.break_starts[number]) - opens, int(known.break_ends[number]) - opens,
            self.rules.shape,
        )  # fmt: skip
        multiples = np.array(self.rules.regimes)[states]
        per_second = np.repeat(multiples**2, BLOCK_SECONDS)[: closes - opens]
        paused = number > 0 and opens > int(known.closes[number - 1])
        return Session(
            number=number,
            opens=opens,
            closes=closes,
            states=states,
            profile=shape,
            variance=shape * per_second * ((1 - self.overnight) / self.year_seconds),
            gap_variance=self.overnight / self.n_year * float(multiples[0]) ** 2 if paused else 0.0,
            years=float(np.count_nonzero(shape)) / self.year_seconds,
        )

    def _regimes(self, number: int) -> np.ndarray:
        """Regimes of a session's half hours; the chain goes on from the session before."""
        last, stay = len(self.rules.regimes) - 1, self.rules.stay
        while len(self._states) <= number:
            n = len(self._states)
            state = int(self._states[-1][-1]) if n else (last + 1) // 2
            n_blocks = -(-int(self.known.closes[n] - self.known.opens[n]) // BLOCK_SECONDS)
            states = np.empty(n_blocks, dtype=np.int64)
            for block, (move, way) in enumerate(generator(self.rules.seed, _REGIME, "", n).random((n_blocks, 2))):
                if move >= stay and last:
                    up = state == 0 or (state < last and way < 0.5)
                    state += 1 if up else -1
                states[block] = state
            self._states.append(states)
        return self._states[number]

    def steps(self, driver: str, number: int) -> np.ndarray:
        """Steps of one driver in each second of a session, (S,); they add up to its number for the session."""
        return self._drivers.get((driver, number), lambda: self._steps(driver, self.session(number)))

    def _steps(self, driver: str, session: Session) -> np.ndarray:
        whole = session.variance.sum()
        free = generator(self.rules.seed, _SECONDS, driver, session.number).standard_normal(session.n_seconds)
        steps = np.sqrt(session.variance) * free
        target = np.sqrt(whole) * self.normals(driver, session.number)[0]
        return steps + (target - steps.sum()) * session.variance / whole

    def normals(self, driver: str, number: int) -> np.ndarray:
        """A driver's normal numbers for a session and for the closed hours before it, (2,)."""
        return generator(self.rules.seed, _SESSION, driver, number).standard_normal(2)

    def path(self, rules: InstrumentRules, others: dict[str, InstrumentRules]) -> Path:
        """The path of one instrument. others: rules of what a leveraged fund multiplies."""
        if rules not in self._paths:
            under = self.path(others[rules.leverage_of], others) if rules.leverage_of else None
            self._paths[rules] = Path(self, rules, under)
        return self._paths[rules]


class Path:
    """The price of one instrument before rounding."""

    def __init__(self, market: Market, rules: InstrumentRules, under: Path | None) -> None:
        self.market, self.rules, self.under = market, rules, under
        self.weights = weights(market.rules, rules)
        self._ends: list[tuple[float, float]] = []  # open and close of each session
        self._mids = Recent(6)

    def ends(self, number: int) -> tuple[float, float]:
        """Price at a session's open and at its close."""
        while len(self._ends) <= number:
            n = len(self._ends)
            before = self._ends[-1][1] if n else self.rules.start_price
            self._ends.append(self._multiplied_ends(n, before) if self.under else self._own_ends(n, before))
        return self._ends[number]

    def mids(self, number: int) -> np.ndarray:
        """Price at every second of a session, its open and its close included, (S + 1,)."""
        return self._mids.get(number, lambda: self._made(number))

    def jumps(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Jumps of a session: the second after whose end each is there (J,), and its log return (J,)."""
        rules, session = self.market.rules, self.market.session(number)
        draws = generator(rules.seed, _JUMPS, self.rules.symbol, number)
        n = int(draws.poisson(rules.jumps))
        return draws.integers(0, session.n_seconds, n), draws.normal(0.0, rules.jump_size, n)

    def _drift(self, session: Session) -> float:
        """Log drift of a session; its own half variance is taken off, so that the mean price grows by the drift."""
        return (self.market.rules.drift - self.rules.volatility**2 / 2) * session.years

    def _own_ends(self, number: int, before: float) -> tuple[float, float]:
        session = self.market.session(number)
        moves = sum(
            (part * self.market.normals(driver, number) for driver, part in self.weights.items()), start=np.zeros(2)
        )
        volatility = self.rules.volatility
        opened = before * np.exp(volatility * np.sqrt(session.gap_variance) * moves[1])
        inside = volatility * np.sqrt(session.variance.sum()) * moves[0]
        return float(opened), float(opened * np.exp(inside + self._drift(session) + self.jumps(number)[1].sum()))

    def _multiplied_ends(self, number: int, before: float) -> tuple[float, float]:
        opened, closed = self._multiplied(np.array(self.under.ends(number)), number, before)  # type: ignore[union-attr]
        return float(opened), float(closed)

    def _made(self, number: int) -> np.ndarray:
        if self.under:
            before = self.ends(number - 1)[1] if number else self.rules.start_price
            return self._multiplied(self.under.mids(number), number, before)
        session = self.market.session(number)
        steps = np.full(session.n_seconds, self._drift(session) / session.n_seconds)
        for driver, part in self.weights.items():
            steps += self.rules.volatility * part * self.market.steps(driver, number)
        at, sizes = self.jumps(number)
        np.add.at(steps, at, sizes)
        return self.ends(number)[0] * np.exp(np.concatenate([[0.0], np.cumsum(steps)]))

    def _multiplied(self, prices: np.ndarray, number: int, before: float) -> np.ndarray:
        """A fund promises a multiple of each day's return, counted from the close before: it is reset daily."""
        assert self.under is not None
        base = self.under.ends(number - 1)[1] if number else self.under.rules.start_price
        return before * np.maximum(1 + self.rules.leverage * (prices / base - 1), _LEAST_LEFT)


@lru_cache(maxsize=32)
def profile(n_seconds: int, rest_starts: int, rest_ends: int, shape: float) -> np.ndarray:
    """Activity of each second of a session, (S,), mean 1: a U over the day, none from rest_starts to rest_ends."""
    day = (np.arange(n_seconds) + 0.5) / n_seconds
    activity = 1 + (shape - 1) * (2 * day - 1) ** 2
    activity[rest_starts:rest_ends] = 0.0
    activity *= np.count_nonzero(activity) / activity.sum()
    activity.flags.writeable = False
    return activity


@lru_cache(maxsize=8)
def market_of(rules: MarketRules) -> Market:
    """One market for all who ask by the same rules, so that its sessions are worked out once. Not for two threads."""
    return Market(rules)
