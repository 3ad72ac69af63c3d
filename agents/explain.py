"""Why a policy chose what it chose: contributions of its inputs, what would have changed its mind, and plain words.

Contributions are integrated gradients from the average training day, flat and without a loss (all inputs zero), to the
day at hand; together they are the difference the day makes to the explained number. What "average" means is the
normaliser's affair: the mean, the median, the middle of the range, or the recent mean.
Source: Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from agents.counterfactuals import Counterfactual, changeable, nearest_changes
from agents.network import FloatNetwork
from agents.normaliser import Scale
from agents.policy import PolicyOutput, ServedPolicy
from agents.sentence import Position, Reason, sentence
from agents.wording import label, shown

N_SHOWN = 6
N_COUNTERFACTUALS = 3
# Steps of the integral; more are taken only while the parts do not add up.
STEPS = (32, 256)
COMPLETE_WITHIN = 0.005  # of the difference explained


@dataclass(frozen=True, eq=False)
class Attribution:
    """How each input moved the explained number."""

    contributions: np.ndarray  # (n + m,), they sum to value - baseline
    value: float  # the number today: log-odds of the choice (ppo), centre before tanh (sac)
    baseline: float  # the same on an average day


def attribute(policy: ServedPolicy, observation: np.ndarray, output: PolicyOutput) -> Attribution:
    """Integrated gradients of the chosen action's log-odds against the others (ppo) or the centre before tanh (sac).

    observation: (n + m,) as ServedPolicy.observe makes it. Computed in float64, by the midpoint rule.
    """
    network, point = float_network(policy), np.asarray(observation, dtype=float)
    choice = int(output.action) if policy.algorithm == "ppo" else None
    value, baseline = (float(network.explained(row[None], choice)[0]) for row in (point, np.zeros_like(point)))
    contributions = np.zeros_like(point)
    for n_steps in STEPS:
        share = (np.arange(n_steps) + 0.5) / n_steps
        contributions = network.gradient(share[:, None] * point, choice).mean(axis=0) * point
        if abs(contributions.sum() - (value - baseline)) <= COMPLETE_WITHIN * abs(value - baseline):
            break
    # What the last steps still miss is spread by size: it matters only where large parts cancel almost completely.
    size = np.abs(contributions)
    missing = value - baseline - contributions.sum()
    contributions += missing * size / size.sum() if size.sum() > 0 else 0.0
    return Attribution(contributions, value, baseline)


@lru_cache(maxsize=16)
def float_network(policy: ServedPolicy) -> FloatNetwork:
    """The policy's layers in float64, kept for the next decision."""
    return FloatNetwork(policy)


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
) -> dict[str, Any]:
    """The rationale of one decision, without the risk gate's checks; see Decision.rationale.

    values: (n,) raw features, NaN where missing; own: (m,) raw own state; previous: the raw features one bar before,
    for "fell to"; held, wanted: signed quantities now and aimed at; unit: what one bar is called; scale: of this bar,
    where the normaliser is online.
    Returns: sentence, preferences, contributions (most important first, at most six), counterfactuals, target.
    """
    scale = scale or policy.normaliser.scale()
    observation = policy.observe(values, own, scale)
    attribution = attribute(policy, observation, output)
    raw = np.concatenate([np.asarray(values, dtype=float), np.asarray(own, dtype=float)])
    before = np.full(len(raw), np.nan)
    if previous is not None:
        before[: len(previous)] = previous
    names = (*policy.spec.names, *policy.own.names)
    reasons = [
        Reason(name, float(raw[i]), None if np.isnan(before[i]) else float(before[i]), float(contribution))
        for i, (name, contribution) in enumerate(zip(names, attribution.contributions, strict=True))
    ]
    reasons.sort(key=lambda reason: -abs(reason.contribution))
    inputs = [reason.name for reason in reasons if changeable(policy, reason.name) and not np.isnan(reason.value)]
    changes = nearest_changes(
        policy, float_network(policy), observation, inputs[:N_COUNTERFACTUALS], output.label, scale
    )
    shares = sorted(output.preferences.items(), key=lambda item: -item[1])
    return {
        "sentence": sentence(policy.algorithm, output, reasons, Position(held, wanted), unit),
        "preferences": [{"label": name.capitalize(), "share": share} for name, share in shares],
        "contributions": [_contribution(reason) for reason in reasons[:N_SHOWN]],
        "counterfactuals": [_counterfactual(change) for change in changes],
        "target": output.target,
    }


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
