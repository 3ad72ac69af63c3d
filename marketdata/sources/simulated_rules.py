"""What a simulated market is made of, read from the options of a stream or fetch. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from marketdata.sources.base import Asked, SourceRefusedError

# Options of the simulator that concern neither market nor instrument: pace, and ticks instead of bars.
_PACE = ("speed", "ticks", "instruments")


@dataclass(frozen=True)
class MarketRules:
    """The market all instruments of one calendar share; equal rules are the same market in every process."""

    seed: int = 1
    calendar: str = "24/7"
    begins: date = date(2020, 1, 1)  # no price exists before
    drift: float = 0.05  # a year
    market_volatility: float = 0.16  # of the common factor a year, only used to turn a beta into a correlation
    regimes: tuple[float, ...] = (0.6, 1.0, 2.2)  # volatility in calm, ordinary and stormy times, times an instrument's
    stay: float = 0.97  # chance that half an hour has the regime of the one before; else it is a neighbour's
    overnight: float = 0.2  # share of a session's variance that happens while the market is closed
    shape: float = 3.0  # trades and variance at open and close, times those at noon
    jumps: float = 0.05  # a session and instrument, on average
    jump_size: float = 0.02  # standard deviation of a jump, as a log return
    correlated: tuple[str, ...] = ()  # symbols whose correlation is given below instead of by the market factor
    correlation: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class InstrumentRules:
    """One instrument of the market."""

    symbol: str
    start_price: float = 100.0  # when the market begins
    volatility: float = 0.25  # a year, in the ordinary regime
    market_correlation: float = 0.6
    beta: float | None = None  # instead of market_correlation
    tick_size: float = 0.01  # 0: prices are not rounded
    spread_bps: float = 2.0  # of the price; at least one price step
    ticks_per_second: float = 1.0  # trades, averaged over a session
    size: float = 100.0  # mean units of a trade
    leverage_of: str = ""  # symbol whose daily return it multiplies
    leverage: float = 1.0


_RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**63), "drift": (-5, 5), "market_volatility": (0.001, 10), "stay": (0, 1), "overnight": (0, 0.95),
    "shape": (0.1, 100), "jumps": (0, 50), "jump_size": (0, 0.5), "start_price": (1e-6, 1e9), "volatility": (0.0, 10),
    "market_correlation": (-1, 1), "beta": (-50, 50), "tick_size": (0, 1e6), "spread_bps": (0, 1000),
    "ticks_per_second": (0.0001, 20_000), "size": (1, 1e9), "leverage": (-10, 10),
}  # fmt: skip
_OF_MARKET = {field.name for field in fields(MarketRules)}
_OF_INSTRUMENT = {field.name for field in fields(InstrumentRules)} - {"symbol"}
# What may be said for all instruments at once; a multiple of another one is never true of all.
_OF_ALL = _OF_INSTRUMENT - {"leverage_of", "leverage"}


def read(asked: Asked) -> tuple[MarketRules, dict[str, InstrumentRules]]:
    """The market and its instruments: the one asked for and, of a leveraged fund, what it multiplies.

    options: any field of MarketRules or InstrumentRules; "instruments" = {symbol: {field: value}} for one alone.
    Raises: SourceRefusedError naming the option that cannot be.
    """
    options = asked.options
    known_names = _OF_MARKET | _OF_ALL | set(_PACE)
    unknown = set(options) - known_names
    if unknown:
        known = ", ".join(sorted(known_names))
        raise SourceRefusedError(f"the simulator has no option {', '.join(sorted(unknown))}; it knows {known}")
    market = MarketRules(**{name: _value(name, options[name]) for name in _OF_MARKET & set(options)})
    _check_market(market)
    rules = _instrument(asked.symbol, options)
    found = {asked.symbol: rules}
    if rules.leverage_of:
        found[rules.leverage_of] = _instrument(rules.leverage_of, options)
        if rules.leverage_of == asked.symbol or found[rules.leverage_of].leverage_of:
            raise SourceRefusedError(f"{asked.symbol} must multiply an instrument that multiplies none itself")
    return market, found


def weights(market: MarketRules, rules: InstrumentRules) -> dict[str, float]:
    """How much of each driver, a name of independent normal numbers, is in an instrument; squares add up to 1."""
    symbol = rules.symbol
    if symbol in market.correlated:
        factor = np.linalg.cholesky(np.array(market.correlation))
        row = factor[market.correlated.index(symbol)]
        return {f"own {other}": float(part) for other, part in zip(market.correlated, row, strict=True) if part}
    with_market = rules.market_correlation
    if rules.beta is not None:
        with_market = rules.beta * market.market_volatility / rules.volatility if rules.volatility else math.inf
        if abs(with_market) > 1:
            raise SourceRefusedError(
                f"{symbol}: a beta of {rules.beta:g} needs a volatility of at least "
                f"{abs(rules.beta) * market.market_volatility:g}, not {rules.volatility:g}"
            )
    return {"market": with_market, f"own {symbol}": math.sqrt(1 - with_market**2)}


def _instrument(symbol: str, options: dict[str, Any]) -> InstrumentRules:
    alone = (options.get("instruments") or {}).get(symbol, {})
    wrong = set(alone) - _OF_INSTRUMENT
    if wrong:
        raise SourceRefusedError(
            f"{symbol} has no option {', '.join(sorted(wrong))}; it knows {', '.join(sorted(_OF_INSTRUMENT))}"
        )
    given = {name: options[name] for name in _OF_ALL & set(options)} | alone
    return InstrumentRules(symbol, **{name: _value(name, value) for name, value in given.items()})


def _value(name: str, value: Any) -> Any:
    """An option in its field's type, within its range."""
    if name == "begins":
        return _date(value)
    if name in ("calendar", "leverage_of"):
        return str(value)
    if name == "correlated":
        return tuple(str(symbol) for symbol in value)
    try:
        if name == "regimes":
            return tuple(_number(name, one, 0.0, 20.0) for one in value)
        if name == "correlation":
            return tuple(tuple(_number(name, one, -1, 1) for one in row) for row in value)
        if name == "beta" and value is None:
            return None
        number = _number(name, value, *_RANGES[name])
    except (TypeError, ValueError) as error:
        raise SourceRefusedError(f"the simulator's {name} is {value!r}: {error}") from error
    return int(number) if name == "seed" else number


def _number(name: str, value: Any, low: float, high: float) -> float:
    number = float(value)
    if not low <= number <= high:
        raise ValueError(f"expected {low:g} to {high:g}")
    return number


def _date(value: Any) -> date:
    try:
        found = value if isinstance(value, date) else date.fromisoformat(str(value))
    except ValueError as error:
        raise SourceRefusedError(f"the simulator's begins is {value!r}: give a date such as 2020-01-01") from error
    if not date(1990, 1, 1) <= found <= datetime.now(UTC).date():
        raise SourceRefusedError(f"the simulator's begins is {found}: give a date from 1990-01-01 until today")
    return found


def _check_market(market: MarketRules) -> None:
    if not market.regimes:
        raise SourceRefusedError("the simulator's regimes are empty: give at least one number, such as [1.0]")
    if not market.correlated and not market.correlation:
        return
    matrix = np.array(market.correlation, dtype=float) if market.correlation else np.empty((0, 0))
    n = len(market.correlated)
    if matrix.shape != (n, n) or not np.allclose(matrix, matrix.T) or not np.allclose(np.diag(matrix), 1):
        raise SourceRefusedError(
            f"the simulator's correlation has shape {matrix.shape}, expected {n} rows and columns for {n} symbols in "
            '"correlated", the same read across as down, with 1 in the diagonal'
        )
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError as error:
        raise SourceRefusedError("the simulator's correlation cannot be: no such numbers go together") from error
