"""The catalogue of market features, and specifications: ordered, versioned, hashable lists of them."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from marketdata.features.definitions import GROUPS, FeatureDefinition
from marketdata.features.own_features import OWN
from marketdata.features.talib_features import TALIB

VERSION = 1  # raise it when every calculation changes; a single feature has its own version
# The first features the desk had, in their order: stored models and the usual configuration are made of them.
FIRST = (
    "rsi_14", "macd", "macd_signal", "macd_histogram", "ema_10", "ema_50", "ema_50_slope", "vix", "return_1",
    "return_5", "return_20", "volatility_20",
)  # fmt: skip
_ALL = TALIB | OWN
CATALOGUE: dict[str, FeatureDefinition] = {name: _ALL[name] for name in FIRST} | {
    name: feature for group in GROUPS for name, feature in _ALL.items() if feature.group == group and name not in FIRST
}


@dataclass(frozen=True)
class FeatureList:
    """An ordered list of features; equal lists are equal. Raises: ValueError for unknown or repeated names."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        unknown = [name for name in self.names if name not in CATALOGUE]
        if unknown:
            raise ValueError(f"unknown feature {', '.join(map(repr, unknown))}; known: {', '.join(CATALOGUE)}")
        if not self.names or len(set(self.names)) != len(self.names):
            raise ValueError(f"features must be at least one and different, got {', '.join(self.names) or 'none'}")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def warm_up(self) -> int:
        """Leading bars for which not every feature has a value; other series and the news may be missing at any bar."""
        return max(CATALOGUE[name].warm_up for name in self.names)

    @property
    def needs(self) -> frozenset[str]:
        """What besides prices any of them needs: volume, sessions, vix, underlying, sentiment."""
        needs = frozenset[str]().union(*(CATALOGUE[name].needs for name in self.names))
        # The time a score may be used and the session's average price follow the sessions where they are known.
        return needs | {"sessions"} if "sentiment" in needs or "vwap_distance" in self.names else needs

    def fingerprint(self) -> str:
        """SHA-256 (hex) of names, order and the versions of their calculations."""
        versions = ((name, CATALOGUE[name].version) for name in self.names)
        words = [name if version == 1 else f"{name}@{version}" for name, version in versions]
        return hashlib.sha256(json.dumps([VERSION, *words]).encode()).hexdigest()

    def labels(self) -> dict[str, str]:
        """Plain words per name."""
        return {name: CATALOGUE[name].label for name in self.names}


def columns_of(names: tuple[str, ...], wanted: tuple[str, ...]) -> np.ndarray:
    """Where each of `names` stands among `wanted`, -1 for nowhere; int64."""
    place = {name: column for column, name in enumerate(wanted)}
    return np.array([place.get(name, -1) for name in names], dtype=np.int64)


@dataclass(frozen=True)
class Line:
    """One line of the catalogue as documentation shows it."""

    name: str
    label: str
    group: str
    source: str
    needs: str
    warm_up: int


def lines() -> Iterator[Line]:
    """The catalogue group by group, in its order."""
    for group in GROUPS:
        for name, feature in CATALOGUE.items():
            if feature.group == group:
                needs = ", ".join(sorted(feature.needs))
                yield Line(name, feature.label, group, feature.source, needs, feature.warm_up)


def markdown() -> str:
    """The catalogue as one table per group, for docs/features.md."""
    parts: list[str] = []
    for group in GROUPS:
        rows = [line for line in lines() if line.group == group]
        parts += [f"### {group.capitalize()} ({len(rows)})", ""]
        parts += ["| name | what it says | from | needs | bars before its first value |", "|---|---|---|---|---:|"]
        parts += [f"| `{r.name}` | {r.label} | {r.source} | {r.needs} | {r.warm_up} |" for r in rows]
        parts.append("")
    return "\n".join(parts)
