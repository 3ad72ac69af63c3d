"""Why a policy chose what it chose: contributions of its inputs, what would have changed its mind, and plain words.

Contributions are integrated gradients from the average training day, flat and without a loss (all inputs zero), to the
day at hand; together they are the difference the day makes to the explained number. What "average" means is the
normaliser's affair: the mean, the median, the middle of the range, or the recent mean. A window's bars count together:
the contribution of a feature is that of all its bars. What a network remembers from earlier bars is taken as it is.
Source: Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.network import FloatNetwork, Goal, float_network
from agents.networks.spec import VALUE_HEADS
from agents.policies.counterfactuals import Counterfactual, Decider, changeable, nearest_changes
from agents.policies.normaliser import Scale
from agents.policies.outputs import PolicyOutput
from agents.policies.policy import ServedPolicy
from agents.policies.sentence import Manner, Position, Reason, sentence
from agents.wording import label, shown

N_SHOWN = 6
N_COUNTERFACTUALS = 3
N_LOOKED_AT = 5  # bars a transformer looked at most
# Steps of the integral; more are taken only while the parts do not add up.
STEPS = (32, 96, 256)
COMPLETE_WITHIN = 0.005  # of the difference explained


@dataclass(frozen=True, eq=False)
class Attribution:
    """How each input moved the explained number."""

    contributions: np.ndarray  # (n + m,) by features, then own values; they sum to value - baseline
    value: float  # the number today; Goal says what it is
    baseline: float  # the same on an average day


def attribute(
    policy: ServedPolicy,
    observation: np.ndarray,
    output: PolicyOutput,
    memory: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> Attribution:
    """Integrated gradients of the number that Goal makes of the decision, in float64 by the midpoint rule.

    observation: (n_inputs,) as ServedPolicy.observe makes it; memory, mask: what the policy decided with.
    """
    network, goal = float_network(policy, memory), Goal.of(policy, output, mask)
    point = np.asarray(observation, dtype=float)
    value, baseline = goal.value(network.forward(np.array([point, np.zeros_like(point)]))).tolist()
    contributions = np.zeros_like(point)
    for n_steps in STEPS:
        contributions = _integral(network, goal, point, n_steps)
        if abs(contributions.sum() - (value - baseline)) <= COMPLETE_WITHIN * abs(value - baseline):
            break
    # What the last steps still miss is spread by size: it matters only where large parts cancel almost completely.
    size = np.abs(contributions)
    missing = value - baseline - contributions.sum()
    contributions += missing * size / size.sum() if size.sum() > 0 else 0.0
    return Attribution(_by_name(policy, contributions), value, baseline)


def _integral(network: FloatNetwork, goal: Goal, point: np.ndarray, n_steps: int) -> np.ndarray:
    """Contributions (n_inputs,) by `n_steps` gradients on the way from zero to the point."""
    rows = ((np.arange(n_steps) + 0.5) / n_steps)[:, None] * point
    return network.pull(rows, goal.slope(network.forward(rows))).mean(axis=0) * point


def _by_name(policy: ServedPolicy, inputs: np.ndarray) -> np.ndarray:
    """Sums (n + m,) over the bars of the window, feature by feature, then the own values."""
    n_values = policy.window * len(policy.spec.names)
    return np.concatenate([inputs[:n_values].reshape(policy.window, -1).sum(axis=0), inputs[n_values:]])


def explain(
    policy: ServedPolicy,
    values: np.ndarray,
    own: np.ndarray,
    output: PolicyOutput,
    *,
    held: float = 0.0,
    wanted: float = 0.0,
    previous: np.ndarray | None = None,
    unit: str = "day",
    scale: Scale | None = None,
    observation: np.ndarray | None = None,
    memory: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> dict[str, Any]:
    """The rationale of one decision, without the risk gate's checks; see Decision.rationale.

    values: (n,) raw features of the newest bar, NaN where missing; own: (m,) raw own state; previous: the raw features
    one bar before, for "fell to"; held, wanted: signed quantities now and aimed at; unit: what one bar is called;
    scale: of the newest bar, where the normaliser is online; observation: what the policy decided on, needed where its
    window is longer than a bar; memory, mask: what it decided with.
    Returns: sentence, preferences, contributions (most important first, at most six), counterfactuals (of the newest
    bar's values), target, and of a transformer attention (the bars it looked at most).
    """
    scale = scale or policy.normaliser.scale()
    seen = policy.observe(values, own, scale) if observation is None else observation
    attribution = attribute(policy, seen, output, memory, mask)
    reasons = _reasons(policy, values, own, previous, attribution)
    inputs = [reason.name for reason in reasons if changeable(policy, reason.name) and not np.isnan(reason.value)]
    decider = Decider(policy, float_network(policy, memory), seen, mask)
    changes = nearest_changes(decider, inputs[:N_COUNTERFACTUALS], output.label, scale)
    shares = sorted(output.preferences.items(), key=lambda item: -item[1])
    manner = Manner(policy.actions, rated=policy.head.kind in VALUE_HEADS)
    found = {
        "sentence": sentence(manner, output, reasons, Position(held, wanted), unit),
        "preferences": [{"label": name.capitalize(), "share": share} for name, share in shares],
        "contributions": [_contribution(reason) for reason in reasons[:N_SHOWN]],
        "counterfactuals": [_counterfactual(change) for change in changes],
        "target": output.target,
    }
    looked = policy.attention(seen)
    return found if looked is None else found | {"attention": _looked_at(looked["bars"])}


def _reasons(
    policy: ServedPolicy, values: np.ndarray, own: np.ndarray, previous: np.ndarray | None, attribution: Attribution
) -> list[Reason]:
    """Every input with its contribution, most important first."""
    raw = np.concatenate([np.asarray(values, dtype=float), np.asarray(own, dtype=float)])
    before = np.full(len(raw), np.nan)
    if previous is not None:
        before[: len(previous)] = previous
    reasons = [
        Reason(name, float(raw[i]), None if np.isnan(before[i]) else float(before[i]), float(contribution))
        for i, (name, contribution) in enumerate(
            zip((*policy.spec.names, *policy.own.names), attribution.contributions, strict=True)
        )
    ]
    return sorted(reasons, key=lambda reason: -abs(reason.contribution))


def _looked_at(shares: list[float]) -> list[dict[str, Any]]:
    """The bars with the largest shares of attention, how long ago they were; 0 is the newest."""
    ages = range(len(shares) - 1, -1, -1)
    most = sorted(zip(ages, shares, strict=True), key=lambda item: -item[1])[:N_LOOKED_AT]
    return [{"bars_ago": age, "share": share} for age, share in most]


def _contribution(reason: Reason) -> dict[str, Any]:
    missing = np.isnan(reason.value)
    return {
        "feature": reason.name,
        "label": label(reason.name),
        "value": None if missing else reason.value,
        "display": "not known" if missing else shown(reason.name, reason.value),
        "contribution": reason.contribution,
    }


def _counterfactual(change: Counterfactual) -> dict[str, Any]:
    return {
        "feature": change.name,
        "label": label(change.name),
        "value": change.value,
        "display": shown(change.name, change.value),
        "direction": "above" if change.rising else "below",
        "would": change.would,
    }
