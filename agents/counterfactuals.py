"""The nearest value of one input at which the policy would have decided otherwise, everything else unchanged."""

from dataclasses import dataclass

import numpy as np

from agents import normaliser
from agents.features import CATALOGUE
from agents.network import FloatNetwork
from agents.policy import CHOICES, ServedPolicy, target_label

REACH = 4.0  # standard deviations either way
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


def nearest_changes(
    policy: ServedPolicy, network: FloatNetwork, observation: np.ndarray, names: list[str], label: str
) -> list[Counterfactual]:
    """For each named feature the nearest value within +-4 standard deviations that changes `label`; none: left out.

    A grid of tenths of a standard deviation finds the first change on either side, bisection then its edge; a change
    back within one tenth may be missed.
    """
    columns = [policy.spec.names.index(name) for name in names]
    columns = [column for column in columns if policy.normaliser.deviation[column] > 0]
    if not columns:
        return []
    offsets = np.arange(1, round(REACH / STEP) + 1) * STEP
    offsets = np.concatenate([offsets, -offsets])
    start = np.asarray(observation, dtype=float)
    low, high = _possible(policy, columns)
    moved = np.clip(start[columns][:, None] + offsets, low[:, None], high[:, None])  # (columns, offsets)
    labels = _labels(policy, network, start, np.repeat(columns, len(offsets)), moved.ravel()).reshape(moved.shape)
    edges = [edge for i in range(len(columns)) if (edge := _nearest(start[columns[i]], moved[i], labels[i], label))]
    if not edges:
        return []
    found = [i for i in range(len(columns)) if (labels[i] != label).any()]
    return _refined(policy, network, start, [columns[i] for i in found], edges, label)


def _possible(policy: ServedPolicy, columns: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest scaled values the features can take; beyond the normaliser's limit nothing changes."""
    catalogue = [CATALOGUE[policy.spec.names[column]] for column in columns]
    raw = np.array([[feature.lowest, feature.highest] for feature in catalogue])
    scaled = (raw - policy.normaliser.mean[columns][:, None]) / policy.normaliser.deviation[columns][:, None]
    scaled = np.clip(scaled, -normaliser.LIMIT, normaliser.LIMIT)
    return scaled[:, 0], scaled[:, 1]


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
    policy: ServedPolicy, network: FloatNetwork, start: np.ndarray, columns: list[int],
    edges: list[tuple[float, float]], label: str,
) -> list[Counterfactual]:  # fmt: skip
    same, other = (np.array(side) for side in zip(*edges, strict=True))
    rows = np.array(columns)
    for _ in range(N_BISECTIONS):
        middle = (same + other) / 2.0
        changed = _labels(policy, network, start, rows, middle) != label
        same, other = np.where(changed, same, middle), np.where(changed, middle, other)
    beyond = np.clip(other + np.sign(other - start[rows]) * BEYOND, *_possible(policy, columns))
    other = np.where(_labels(policy, network, start, rows, beyond) != label, beyond, other)
    would = _labels(policy, network, start, rows, other)
    return [
        Counterfactual(
            policy.spec.names[column],
            float(policy.normaliser.to_raw(other[i], column)),
            bool(other[i] > start[column]),
            str(would[i]),
        )
        for i, column in enumerate(columns)
    ]


def _labels(
    policy: ServedPolicy, network: FloatNetwork, start: np.ndarray, columns: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """What the policy would decide with one input changed per row."""
    rows = np.repeat(start[None], len(values), axis=0)
    rows[np.arange(len(values)), columns] = values
    head = network.forward(rows)
    if policy.algorithm == "ppo":
        return np.array(CHOICES)[head.argmax(axis=1)]
    weight = policy.current_weight(start)
    return np.array([target_label(action, weight, policy.rules) for action in np.tanh(head[:, 0])])
