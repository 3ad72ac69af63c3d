"""What an agent knows of itself: position, account and its own history. One calculation for training and live."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf

import numpy as np

from agents.environment import own_history
from core.simulation.compiled import inlined
from core.simulation.rules import MarketRules

LIMIT = 5.0


@dataclass(frozen=True)
class OwnValue:
    """One thing an agent may know of itself."""

    label: str  # in plain words
    scale: float  # brings it to about one in ordinary times of daily bars
    display: Callable[[float], str]  # a raw value as operators read it
    usual: float = 0.0  # raw value of a flat account to which nothing has happened; the network sees 0 then
    lowest: float = -inf  # values beyond these cannot happen
    highest: float = inf
    # Whether it could have been different while everything else was the same; counts and what hangs on the position
    # could not, so "had it been" would be nonsense.
    alone: bool = False


def _percent(value: float) -> str:
    return f"{value * 100:.1f} %"


def _fine_percent(value: float) -> str:
    return f"{value * 100:.2f} %"


def _count(value: float) -> str:
    return f"{value:.0f}"


def _ago(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'} ago"


# Position and account first, as fill_own_state writes them; then the history, as fill_history writes it; then cash.
CATALOGUE: dict[str, OwnValue] = {
    "weight": OwnValue("Share of money invested", 1.0, _percent),
    "open_return": OwnValue("Open gain or loss", 10.0, _percent),
    "drawdown": OwnValue("Distance below its own peak", 5.0, _percent),
    "time_in_position": OwnValue("Bars held", 0.02, _count),
    **{
        f"wanted_{n}": OwnValue(f"Share it wanted invested, {_ago(n, 'decision')}", 1.0, _percent, alone=True)
        for n in range(1, own_history.N_WANTED + 1)
    },
    "own_return_1": OwnValue("Its own gain or loss, last bar", 50.0, _fine_percent, lowest=-1.0, alone=True),
    **{
        f"own_return_{n}": OwnValue(
            f"Its own gain or loss, {_ago(n - 1, 'bar')}", 50.0, _fine_percent, lowest=-1.0, alone=True
        )
        for n in range(2, own_history.N_WANTED + 1)
    },
    "own_return_mean_20": OwnValue("Its own average gain per bar, 20 bars", 200.0, _fine_percent, alone=True),
    "own_volatility_20": OwnValue(
        "How much its own money moves per bar, 20 bars", 50.0, _fine_percent, lowest=0.0, alone=True
    ),
    "bars_since_fill": OwnValue("Bars since it last traded", 0.02, _count),
    "fills_20": OwnValue("Orders carried out in 20 bars", 0.1, _count),
    "last_trade_result": OwnValue("Result of its last closed trade", 10.0, _percent, alone=True),
    "best_open_return": OwnValue("Best open gain or loss since it bought in", 10.0, _percent),
    "worst_open_return": OwnValue("Worst open gain or loss since it bought in", 10.0, _percent),
    "given_back": OwnValue("Given back since its best close", 10.0, _percent),
    "cash_share": OwnValue("Share of money in cash", 1.0, _percent, usual=1.0),
}
ALL = tuple(CATALOGUE)
DEFAULT_NAMES = ALL[:4]
N_POSITION = len(DEFAULT_NAMES)
N_ALL = len(ALL)
CASH_SHARE = ALL.index("cash_share")


@dataclass(frozen=True)
class OwnSpec:
    """An ordered list of own values; equal lists are equal specs.

    Raises: ValueError for unknown or repeated names, or without the weight, which a decision's label needs.
    """

    names: tuple[str, ...] = DEFAULT_NAMES

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        unknown = [name for name in self.names if name not in CATALOGUE]
        if unknown:
            raise ValueError(f"unknown own value {', '.join(map(repr, unknown))}; known: {', '.join(CATALOGUE)}")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"own values must be different, got {', '.join(self.names)}")
        if "weight" not in self.names:
            raise ValueError(f"got {', '.join(self.names) or 'none'}, expected weight among them: every label needs it")

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def columns(self) -> np.ndarray:
        """Places of the values in the catalogue, (n,) int64."""
        return np.array([ALL.index(name) for name in self.names], dtype=np.int64)

    @cached_property
    def usual(self) -> np.ndarray:
        """Raw values the network sees as 0, (n,)."""
        return np.array([CATALOGUE[name].usual for name in self.names])

    @cached_property
    def scale(self) -> np.ndarray:
        """What a raw distance from `usual` is multiplied by, (n,)."""
        return np.array([CATALOGUE[name].scale for name in self.names])

    @cached_property
    def needs_history(self) -> bool:
        """Whether a value is among them that takes more than position and account of this moment."""
        return any(name not in DEFAULT_NAMES and name != "cash_share" for name in self.names)

    def as_array(self) -> np.ndarray:
        """What compiled code needs, (3, n): places in the catalogue, raw values seen as 0, factors."""
        return np.array([self.columns, self.usual, self.scale], dtype=float)

    def scaled(self, own: np.ndarray) -> np.ndarray:
        """Raw values (..., n) as the network sees them, within +-LIMIT."""
        return np.clip((np.asarray(own, dtype=float) - self.usual) * self.scale, -LIMIT, LIMIT)


DEFAULT = OwnSpec()


@inlined
def fill_own_state(
    quantity: float,
    average_price: float,
    close: float,
    equity: float,
    peak: float,
    age_bars: float,
    multiplier: float,
    out: np.ndarray,
    k: int = 0,
) -> None:
    """Write the raw values of position and account to four places of out, from k on; see own_state."""
    out[k] = quantity * close * multiplier / equity if equity > 0.0 else 0.0
    out[k + 1] = 0.0
    if quantity != 0.0 and average_price > 0.0:
        change = close / average_price - 1.0
        out[k + 1] = change if quantity > 0.0 else -change
    out[k + 2] = max(1.0 - equity / peak, 0.0) if peak > 0.0 else 0.0
    out[k + 3] = age_bars


def own_state(
    quantity: float,
    average_price: float,
    close: float,
    equity: float,
    peak: float,
    age_bars: float,
    rules: MarketRules,
    *,
    memory: np.ndarray | None = None,
    spec: OwnSpec = DEFAULT,
) -> np.ndarray:
    """The agent's own state at a close, raw: shape (n,) by spec.names.

    quantity signed; prices per unit; equity and peak in account currency; age_bars closes since it was opened;
    memory: of own_history at this close, needed where the spec has values of the history.
    weight: position value / equity, signed; open_return: of the position, a gain is positive, long or short, 0 when
    flat; drawdown: of the account, 0 to 1; wanted_n: target weight n decisions ago; own_return_1: equity return of the
    bar just closed, own_return_2 of the one before; mean and volatility (population) over up to 20 bars;
    last_trade_result: of the last closed trade after costs, fraction of its entry value; best and worst open return
    at a close since it was opened; given_back: move against it since its best close, at least 0.
    Raises: ValueError if the spec needs a memory and there is none.
    """
    out = np.zeros(N_ALL)
    fill_own_state(
        float(quantity), float(average_price), float(close), float(equity), float(peak), float(age_bars),
        float(rules.multiplier), out,
    )  # fmt: skip
    if spec.needs_history:
        if memory is None:
            raise ValueError(f"own values {', '.join(spec.names)} need a memory; pass the one of own_history")
        own_history.fill_history(memory, out[N_POSITION:])
    out[CASH_SHARE] = 1.0 - out[0]
    return out[spec.columns]


def own_states(
    quantities: np.ndarray,
    average_prices: np.ndarray,
    closes: np.ndarray,
    equity: float,
    peak: float,
    ages_bars: np.ndarray,
    rules: Sequence[MarketRules],
    *,
    memories: Sequence[np.ndarray] | None = None,
    spec: OwnSpec = DEFAULT,
) -> np.ndarray:
    """The same for I instruments of one account, instrument by instrument: (I * n,).

    quantities, average_prices, closes, ages_bars: (I,); equity and peak are the account's; memories: one each.
    The share of money in cash counts everything held. Raises: ValueError as own_state, or for another number of rules.
    """
    if len(rules) != len(quantities):
        raise ValueError(f"{len(rules)} rules arrived for {len(quantities)} instruments; give one each")
    values = sum(float(q) * float(c) * r.multiplier for q, c, r in zip(quantities, closes, rules, strict=True))
    found = np.array(
        [
            own_state(
                quantities[i], average_prices[i], closes[i], equity, peak, ages_bars[i], rules[i],
                memory=None if memories is None else memories[i], spec=spec,
            )
            for i in range(len(rules))
        ]
    )  # fmt: skip
    if "cash_share" in spec.names:
        found[:, spec.names.index("cash_share")] = 1.0 - (values / equity if equity > 0.0 else 0.0)
    return found.reshape(-1)
