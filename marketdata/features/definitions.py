"""What is known of a feature besides its number: words, warm-up, bounds, and what it needs."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf


def percent(value: float) -> str:
    """0.031 as "3.1 %"."""
    return f"{value * 100:.1f} %"


def fine_percent(value: float) -> str:
    """0.00031 as "0.03 %"."""
    return f"{value * 100:.2f} %"


def one_decimal(value: float) -> str:
    """28.44 as "28.4"."""
    return f"{value:.1f}"


def two_decimals(value: float) -> str:
    """0.284 as "0.28"."""
    return f"{value:.2f}"


def whole(value: float) -> str:
    """3.0 as "3"."""
    return f"{value:.0f}"


def yes_no(value: float) -> str:
    """1.0 as "yes"."""
    return "yes" if value > 0.5 else "no"


def direction(value: float) -> str:
    """1.0 as "up"."""
    return "up" if value > 0 else "down"


@dataclass(frozen=True)
class FeatureDefinition:
    """One feature of the catalogue."""

    label: str  # in plain words
    display: Callable[[float], str]  # a value as operators read it
    warm_up: int  # leading bars without a value
    lowest: float = -inf  # values beyond these cannot happen
    highest: float = inf
    group: str = "trend"  # one of GROUPS
    source: str = "own"  # what calculates it, such as "TA-Lib RSI"
    needs: frozenset[str] = frozenset()  # of NEEDS, besides prices
    version: int = 1  # raise it when the calculation changes: fingerprints, and so old models, tell the difference


GROUPS = (
    "trend", "momentum", "volatility", "volume", "statistical", "calendar", "cross-asset", "sentiment",
)  # fmt: skip
NEEDS = ("volume", "sessions", "vix", "underlying", "sentiment")
