"""The nearest value of one input at which the policy would have decided otherwise, everything else unchanged.

Of a window only the newest bar's values are changed: what was before cannot be another.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from agents.environment import own_state
from agents.network import FloatNetwork
from agents.policies import normaliser
from agents.policies.features import CATALOGUE
from agents.policies.normaliser import Scale
from agents.policies.outputs import LABELS, action_of, choose, target_label
from agents.policies.policy import ServedPolicy
from marketdata.features.definitions import direction, yes_no

REACH = 4.0  # standard deviations either way; where a scale ends at 1 instead of 5, a fifth of it
STEP = 0.1
N_BISECTIONS = 16
# The edge itself is decided by the last digit of a float32 network; a hair beyond it is not.
BEYOND = 1e-4


@dataclass(frozen=True)
class Counterfactual:
    """Had this input been at `value` or just beyond, the decision would have been another."""

    name: str
    value: float  # raw units, on the side where the decision differs
    rising: bool  # whether the value lies above today's
    would: str  # buy, sell or hold


def changeable(policy: ServedPolicy, name: str) -> bool:
    """Whether asking "had this been another" makes sense.

    Not of the calendar, not of what is one thing or the other, and not of own values that hang on the position.
    """
    if name not in policy.spec.names:
        return own_state.CATALOGUE[name].alone
    feature = CATALOGUE[name]
    return feature.group != "calendar" and feature.display not in (yes_no, direction)


@dataclass(frozen=True, eq=False)
class _Inputs:
    """The newest bar's features and the own values, with what turns them into raw values and back."""

    names: tuple[str, ...]
    scale: Scale  # (n + m,) of all inputs; own values are fitted with 1 / their factor
    low: np.ndarray  # (n + m,) scaled: lowest value possible
    high: np.ndarray  # (n + m,)
    reach: np.ndarray  # (n + m,) scaled: what one standard deviation is

    @classmethod
    def of(cls, policy: ServedPolicy, features: Scale) -> "_Inputs":
        own, n_features = policy.own, len(policy.spec.names)
        bounds = [(CATALOGUE[name].lowest, CATALOGUE[name].highest) for name in policy.spec.names]
        bounds += [(own_state.CATALOGUE[name].lowest, own_state.CATALOGUE[name].highest) for name in own.names]
        raw = np.array(bounds)
        centre = np.concatenate([features.centre, own.usual])
        spread = np.concatenate([features.spread, 1.0 / own.scale])
        limit = np.concatenate([np.full(n_features, features.limit), np.full(len(own), own_state.LIMIT)])
        usable = np.where(spread > 0, spread, 1.0)
        # Beyond the limit nothing changes.
        low, high = (np.clip((raw[:, side] - centre) / usable, -limit, limit) for side in (0, 1))
        names = (*policy.spec.names, *own.names)
        return cls(names, Scale(centre, spread), low, high, limit / normaliser.LIMIT)


@dataclass(frozen=True, eq=False)
class Decider:
    """What the policy would have decided at one close, had single inputs been others."""

    policy: ServedPolicy
    network: FloatNetwork
    observation: np.ndarray  # (n_inputs,) what it decided on
    mask: np.ndarray | None = None  # which actions made sense, for a policy that learned so

    @cached_property
    def start(self) -> np.ndarray:
        """Today's inputs that may be changed: the newest bar's features, then the own values, (n + m,) scaled."""
        return np.asarray(self.observation, dtype=float)[self.policy.newest :]

    def labels(self, columns: np.ndarray, values: np.ndarray) -> np.ndarray:
        """buy, sell or hold for every pair of a column of `start` and the scaled value it would have."""
        rows = np.repeat(np.asarray(self.observation, dtype=float)[None], len(values), axis=0)
        rows[np.arange(len(values)), self.policy.newest + np.asarray(columns)] = values
        scores, head = self.network.forward(rows), self.policy.head
        if not head.is_continuous:
            return np.array(LABELS[head.n_actions])[choose(scores, self.mask if head.masked else None)]
        weight = self.policy.current_weight(self.observation)
        actions = action_of(head, scores[:, 0])
        return np.array([target_label(float(action), weight, self.policy.rules) for action in actions])


def nearest_changes(decider: Decider, names: list[str], label: str, scale: Scale | None = None) -> list[Counterfactual]:
    """For each named input the nearest value within +-4 standard deviations that changes `label`; none: left out.

    names: of features or of own values that are `changeable`; scale: of the features at this bar, where the normaliser
    is online. A grid of tenths of a standard deviation finds the first change on either side, bisection then its edge;
    a change back within one tenth may be missed.
    """
    inputs = _Inputs.of(decider.policy, scale or decider.policy.normaliser.scale())
    columns = [inputs.names.index(name) for name in names]
    columns = [column for column in columns if inputs.scale.spread[column] > 0]
    if not columns:
        return []
    offsets = np.arange(1, round(REACH / STEP) + 1) * STEP
    offsets = np.concatenate([offsets, -offsets])
    start = decider.start
    moved = start[columns][:, None] + offsets * inputs.reach[columns][:, None]  # (columns, offsets)
    moved = np.clip(moved, inputs.low[columns][:, None], inputs.high[columns][:, None])
    labels = decider.labels(np.repeat(columns, len(offsets)), moved.ravel()).reshape(moved.shape)
    edges = [edge for i in range(len(columns)) if (edge := _nearest(start[columns[i]], moved[i], labels[i], label))]
    if not edges:
        return []
    found = [i for i in range(len(columns)) if (labels[i] != label).any()]
    return _refined(decider, [columns[i] for i in found], edges, label, inputs)


def _nearest(today: float, moved: np.ndarray, labels: np.ndarray, label: str) -> tuple[float, float] | None:
    """(last value that keeps the label, first that changes it) on the side where the change comes sooner."""
    half = len(moved) // 2
    best: tuple[float, float] | None = None
    for side in (slice(0, half), slice(half, None)):
        values, changed = moved[side], np.flatnonzero(labels[side] != label)
        if changed.size == 0:
            continue
        at = int(changed[0])
        edge = (float(values[at - 1]) if at else today, float(values[at]))
        if best is None or abs(edge[1] - today) < abs(best[1] - today):
            best = edge
    return best


def _refined(
    decider: Decider, columns: list[int], edges: list[tuple[float, float]], label: str, inputs: _Inputs
) -> list[Counterfactual]:
    same, other = (np.array(side) for side in zip(*edges, strict=True))
    rows, today = np.array(columns), decider.start[columns]
    for _ in range(N_BISECTIONS):
        middle = (same + other) / 2.0
        changed = decider.labels(rows, middle) != label
        same, other = np.where(changed, same, middle), np.where(changed, middle, other)
    beyond = other + np.sign(other - today) * BEYOND * inputs.reach[rows]
    beyond = np.clip(beyond, inputs.low[rows], inputs.high[rows])
    other = np.where(decider.labels(rows, beyond) != label, beyond, other)
    would = decider.labels(rows, other)
    return [
        Counterfactual(
            inputs.names[column],
            float(inputs.scale.to_raw(other[i], column)),
            bool(other[i] > today[i]),
            str(would[i]),
        )
        for i, column in enumerate(columns)
    ]
