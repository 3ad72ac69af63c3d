"""What a policy's network is made of: the encoder and body, and the head that turns them into an action. Pure data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

MLP, LSTM, TCN, ANE, RECURRENT = "mlp", "lstm", "tcn", "ane", "recurrent"
ACTIVATIONS = ("tanh", "relu", "gelu", "silu")
MAX_WINDOW, MAX_WIDTH, MAX_LAYERS, MAX_INSTRUMENTS = 256, 4096, 8, 64
NO_COLUMN = -1

# Option, default, lowest, highest. A column of -1 means that the features have no such column.
OPTIONS: dict[str, dict[str, tuple[int, int, int]]] = {
    MLP: {},
    LSTM: {"size": (32, 1, MAX_WIDTH), "layers": (1, 1, MAX_LAYERS)},
    TCN: {"channels": (32, 1, MAX_WIDTH), "kernel": (3, 2, 9)},
    ANE: {
        "size": (32, 4, MAX_WIDTH),
        "heads": (4, 1, 16),
        "layers": (1, 1, MAX_LAYERS),
        "return_column": (NO_COLUMN, NO_COLUMN, 100_000),
        "elapsed_column": (NO_COLUMN, NO_COLUMN, 100_000),
    },
    RECURRENT: {"size": (64, 1, MAX_WIDTH), "layers": (1, 1, MAX_LAYERS)},
}
KINDS = tuple(OPTIONS)
# Features whose columns the transformer uses by name: what volatility and real time distances are measured from. Of
# several instruments the first one's, which stands for the account's market; the time between bars is the same for all.
COLUMNS = {"return_column": "return_1", "elapsed_column": "bar_gap"}

LOGITS, Q, DUELING, QUANTILES = "logits", "q", "dueling", "quantiles"
GAUSSIAN, GAUSSIAN_CLIPPED, DETERMINISTIC = "gaussian", "gaussian_clipped", "deterministic"
CHOICE_HEADS, VALUE_HEADS = (LOGITS, Q, DUELING, QUANTILES), (Q, DUELING, QUANTILES)
TARGET_HEADS = (GAUSSIAN, GAUSSIAN_CLIPPED, DETERMINISTIC)
HEADS = CHOICE_HEADS + TARGET_HEADS


@dataclass(frozen=True)
class NetworkSpec:
    """Encoder and body of a network.

    kind: mlp (no encoder), lstm, tcn, ane (a transformer) over the last `window` bars, recurrent (LSTM with a memory
    from bar to bar); hidden: widths of the body's layers; options: by kind, see OPTIONS; missing ones get their
    default. Raises: ValueError saying what is wrong.
    """

    kind: str = MLP
    hidden: tuple[int, ...] = (64, 64)
    activation: str = "tanh"
    window: int = 1
    options: Mapping[str, int] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"network {self.kind!r} is unknown; expected one of {', '.join(KINDS)}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation {self.activation!r} is unknown; expected one of {', '.join(ACTIVATIONS)}")
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if len(self.hidden) > MAX_LAYERS or not all(_whole(width, 1, MAX_WIDTH) for width in self.hidden):
            raise ValueError(
                f"hidden must be up to {MAX_LAYERS} widths from 1 to {MAX_WIDTH}, got {list(self.hidden)!r}"
            )
        if not _whole(self.window, 1, MAX_WINDOW):
            raise ValueError(f"window must be a whole number of bars from 1 to {MAX_WINDOW}, got {self.window!r}")
        object.__setattr__(self, "options", _options(self.kind, self.options))
        if self.kind == ANE and self.options["size"] % self.options["heads"]:
            raise ValueError(f"size {self.options['size']} must be a multiple of heads {self.options['heads']}")
        if self.kind == ANE and self.options["size"] < 2 * self.options["heads"]:
            raise ValueError(f"size {self.options['size']} must be at least twice heads {self.options['heads']}")

    @property
    def has_memory(self) -> bool:
        """Whether the network remembers from one bar to the next."""
        return self.kind == RECURRENT

    def for_features(self, names: Sequence[str]) -> "NetworkSpec":
        """The same with the columns that it uses by name, as far as these features have them."""
        wanted = [option for option in OPTIONS[self.kind] if option in COLUMNS]
        places = {name: place for place, name in enumerate(names)}
        found = {option: places.get(COLUMNS[option], NO_COLUMN) for option in wanted}
        return replace(self, options={**self.options, **found})

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name, fit for JSON."""
        return {
            "kind": self.kind,
            "hidden": list(self.hidden),
            "activation": self.activation,
            "window": self.window,
            "options": dict(self.options),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The reverse of to_dict; what is missing gets its default. Raises: ValueError."""
        return cls(**_known(values, "network", ("kind", "hidden", "activation", "window", "options")))


@dataclass(frozen=True)
class HeadSpec:
    """How the body's output becomes an action.

    kind: logits (softmax over the actions), q, dueling, quantiles (values of the actions; the best one is taken),
    gaussian (tanh of a normal's centre), gaussian_clipped (a normal's centre, cut to -1 to 1; its deviation is a
    parameter), deterministic (tanh). n_actions: 3 (hold, buy, sell) or 9 (steps) for the first four, 1 for the others.
    n_instruments: of one account, each with n_actions outputs of its own, side by side; heads of values have one.
    options: n_quantiles (quantiles); scale (q, dueling, quantiles: what a usual difference between two actions' values
    is, so that preferences mean something); masked (logits: learned with impossible actions masked, served so too).
    Raises: ValueError saying what is wrong.
    """

    kind: str
    n_actions: int = 1
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    n_instruments: int = 1

    def __post_init__(self) -> None:
        if self.kind not in HEADS:
            raise ValueError(f"head {self.kind!r} is unknown; expected one of {', '.join(HEADS)}")
        expected = (3, 9) if self.kind in CHOICE_HEADS else (1,)
        if not _whole(self.n_actions, 1, 9) or self.n_actions not in expected:
            raise ValueError(
                f"a {self.kind} head has {' or '.join(map(str, expected))} actions, got {self.n_actions!r}"
            )
        most = 1 if self.kind in VALUE_HEADS else MAX_INSTRUMENTS
        if not _whole(self.n_instruments, 1, most):
            allowed_number = "1 instrument" if most == 1 else f"1 to {most} instruments"
            raise ValueError(f"a {self.kind} head has {allowed_number}, got {self.n_instruments!r}")
        object.__setattr__(self, "options", dict(self.options))
        allowed = {"scale"} if self.kind in VALUE_HEADS else {"masked"} if self.kind == LOGITS else set()
        allowed |= {"n_quantiles"} if self.kind == QUANTILES else set()
        if extra := set(self.options) - allowed:
            raise ValueError(f"a {self.kind} head has no option {', '.join(sorted(extra))}")
        if self.kind == QUANTILES and not _whole(self.options.get("n_quantiles"), 1, 1024):
            raise ValueError(f"n_quantiles must be 1 to 1024, got {self.options.get('n_quantiles')!r}")
        scale = self.options.get("scale", 1.0)
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < float("inf"):
            raise ValueError(f"scale must be a number above 0, got {scale!r}")
        if not isinstance(self.options.get("masked", False), bool):
            raise ValueError(f"masked must be true or false, got {self.options['masked']!r}")

    @property
    def is_continuous(self) -> bool:
        """Whether the action is a target position rather than one of several choices."""
        return self.kind in TARGET_HEADS

    @property
    def masked(self) -> bool:
        """Whether impossible actions were masked when it learned."""
        return bool(self.options.get("masked", False))

    @property
    def n_quantiles(self) -> int:
        """Quantiles per action; 1 for a head without."""
        return int(self.options.get("n_quantiles", 1))

    @property
    def n_scores(self) -> int:
        """Scores of one decision: those of every action of every instrument."""
        return self.n_instruments * self.n_actions

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name, fit for JSON; the number of instruments only where it is above 1."""
        found = {"kind": self.kind, "n_actions": self.n_actions, "options": dict(self.options)}
        return found if self.n_instruments == 1 else found | {"n_instruments": self.n_instruments}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The reverse of to_dict. Raises: ValueError."""
        return cls(**_known(values, "head", ("kind", "n_actions", "options", "n_instruments")))


def _whole(value: Any, lowest: int, highest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def _options(kind: str, given: Mapping[str, int]) -> dict[str, int]:
    """All options of a kind, checked. Raises: ValueError."""
    if not isinstance(given, Mapping):
        raise ValueError(f"options must be values by name, got {given!r}")
    if extra := set(given) - set(OPTIONS[kind]):
        known = ", ".join(OPTIONS[kind]) or "none"
        raise ValueError(f"network {kind} has no option {', '.join(sorted(extra))}; it has {known}")
    found = {}
    for name, (default, lowest, highest) in OPTIONS[kind].items():
        found[name] = given.get(name, default)
        if not _whole(found[name], lowest, highest):
            raise ValueError(f"{name} must be a whole number from {lowest} to {highest}, got {found[name]!r}")
    return found


def _known(values: Mapping[str, Any], what: str, names: tuple[str, ...]) -> dict[str, Any]:
    """The values, if they are ones a spec has. Raises: ValueError."""
    if not isinstance(values, Mapping) or set(values) - set(names) or (what == "head" and "kind" not in values):
        raise ValueError(f"a {what} is described by {', '.join(names)}, got {values!r}")
    found = dict(values)
    if "hidden" in found:
        if not isinstance(found["hidden"], list | tuple):
            raise ValueError(f"hidden must be a list of widths, got {found['hidden']!r}")
        found["hidden"] = tuple(found["hidden"])
    return found
