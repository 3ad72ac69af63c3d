"""From what a network says to what a policy wants: action, label, confidence, shares of buy, hold and sell. Pure."""

from dataclasses import dataclass, field
from math import erf, inf, sqrt

import numpy as np

from agents.networks.spec import DETERMINISTIC, GAUSSIAN, LOGITS, HeadSpec
from core.simulation.rules import MarketRules

CHOICES = ("hold", "buy", "sell")  # by the kernel's choice numbers
# By number of actions; the nine steps are 0 hold, 1 to 4 buy, 5 to 8 sell.
LABELS = {3: CHOICES, 9: ("hold", *("buy",) * 4, *("sell",) * 4)}
NEAR = 0.25  # a draw this close to the target counts as agreeing with it
# TD3 has no distribution; its critic learned with this much noise around the action, so that much is "about the same".
SMOOTHING = 0.2


@dataclass(frozen=True)
class PolicyOutput:
    """What the policy wants at one close; compared without the memory."""

    action: float  # choice or step number, or target position from -1 to 1 as the network gives it
    label: str  # buy, sell or hold
    confidence: float  # 0 to 1
    preferences: dict[str, float]  # share per label, summing to 1
    target: float | None = None  # of continuous ones: the position meant, 0 for a negative one without short selling
    mean: float | None = None  # of continuous ones: what the head says, before tanh or the cut to -1 to 1
    deviation: float | None = None  # standard deviation of the same, None for a head without one
    memory: np.ndarray | None = field(default=None, compare=False)  # what the network remembers after this bar


def choose(scores: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """The best actions (...,) by scores (..., A); mask: (A,) bool, which may be taken, None for all."""
    allowed = scores if mask is None else np.where(mask, scores, -inf)
    return allowed.argmax(axis=-1)


def shares(scores: np.ndarray, head: HeadSpec, mask: np.ndarray | None = None) -> np.ndarray:
    """Share (A,) of every action, summing to 1.

    logits: their softmax, the probabilities the policy learned with. Values of actions (q, dueling, quantiles): the
    softmax of (value - best) / scale. The scale is the head's option: how far the values of the actions usually lie
    apart, measured after learning. Without it, it is how far they lie apart here, their standard deviation: then the
    shares tell how the actions rank among each other at this bar, not whether the bar is a clear one.
    """
    if head.kind != LOGITS:
        scale = float(head.options.get("scale", 0.0)) or float(scores.std())
        scores = scores / scale if scale > 0 else np.zeros_like(scores)
    allowed = scores if mask is None else np.where(mask, scores, -inf)
    found = np.exp(allowed - allowed.max())
    return found / found.sum()


def choice_output(
    scores: np.ndarray, head: HeadSpec, mask: np.ndarray | None = None, memory: np.ndarray | None = None
) -> PolicyOutput:
    """The output of a head that chooses, from the scores (A,) of its three or nine actions.

    The label is the chosen action's; the preference for a label is the sum over its actions, the confidence that of
    the label chosen. So a policy torn between three sizes of a purchase is sure to buy.
    """
    labels, parts = LABELS[head.n_actions], shares(scores, head, mask)
    action = int(choose(scores, mask))
    preferences = dict.fromkeys(CHOICES, 0.0)
    for label, part in zip(labels, parts.tolist(), strict=True):
        preferences[label] += part
    label = labels[action]
    return PolicyOutput(float(action), label, preferences[label], preferences, memory=memory)


@dataclass(frozen=True)
class Draw:
    """The distribution of a target position: a normal before tanh, or one that is cut to -1 to 1."""

    mean: float
    deviation: float
    squashed: bool

    @property
    def centre(self) -> float:
        """The target position without any draw, -1 to 1."""
        return float(np.tanh(self.mean)) if self.squashed else min(max(self.mean, -1.0), 1.0)

    def below(self, action: float) -> float:
        """Chance that a draw is at most `action`."""
        if action >= 1.0 or action < -1.0 or (self.squashed and action <= -1.0):
            return 1.0 if action >= 1.0 else 0.0
        place = float(np.arctanh(action)) if self.squashed else action
        return 0.5 * (1.0 + erf((place - self.mean) / (self.deviation * sqrt(2.0))))


def draw_of(head: HeadSpec, mean: float, deviation: float | None) -> Draw:
    """The distribution that a continuous head's output stands for.

    gaussian: a normal before tanh; gaussian_clipped: one cut to -1 to 1; deterministic: none, so one with the noise
    that the learner smooths its targets with stands for it, 0.2 around the action.
    """
    if head.kind == DETERMINISTIC:
        return Draw(float(np.tanh(mean)), SMOOTHING, squashed=False)
    assert deviation is not None, "a normal has a deviation"
    return Draw(mean, deviation, squashed=head.kind == GAUSSIAN)


def action_of(head: HeadSpec, mean: np.ndarray) -> np.ndarray:
    """Target positions from -1 to 1 by what a continuous head says."""
    return np.clip(mean, -1.0, 1.0) if head.kind not in (GAUSSIAN, DETERMINISTIC) else np.tanh(mean)


def target_output(
    head: HeadSpec,
    mean: float,
    deviation: float | None,
    weight: float,
    rules: MarketRules,
    memory: np.ndarray | None = None,
) -> PolicyOutput:
    """The output of a continuous head from what it says and the current weight.

    Without short selling a negative target means flat. Confidence: the chance that a draw, limited in the same way,
    lands within 0.25 of the target. Preferences: the chance that a draw would buy, hold or sell from this weight.
    """
    draw, lowest = draw_of(head, mean, deviation), -1.0 if rules.short_selling else 0.0
    action = draw.centre
    target = max(action, lowest)
    # Everything below the lowest position counts as the lowest, so its whole chance lies there.
    low = -inf if target - NEAR <= lowest else target - NEAR
    confidence = draw.below(target + NEAR) - draw.below(low)
    label, preferences = target_label(action, weight, rules), target_preferences(draw, weight, rules)
    return PolicyOutput(action, label, confidence, preferences, target, mean, deviation, memory)


def target_label(action: float, weight: float, rules: MarketRules) -> str:
    """buy, sell or hold: where a target position leads from the current weight, the no-trade band regarded."""
    wanted = min(max(action, -1.0 if rules.short_selling else 0.0), 1.0) * rules.max_weight
    change = wanted - weight
    if change == 0.0 or (wanted != 0.0 and abs(change) < rules.no_trade_band):
        return "hold"
    return "buy" if change > 0 else "sell"


def target_preferences(draw: Draw, weight: float, rules: MarketRules) -> dict[str, float]:
    """Chance that a draw would hold, buy or sell from the current weight."""
    up = (weight + rules.no_trade_band) / rules.max_weight
    down = (weight - rules.no_trade_band) / rules.max_weight
    if not rules.short_selling:
        up = max(up, 0.0)
        # Flat is always allowed, band or not; from flat there is nothing to sell.
        down = max(down, 0.0) if weight > 0 else -inf
    buy = 1.0 - draw.below(up)
    sell = draw.below(down)
    return {"hold": max(1.0 - buy - sell, 0.0), "buy": buy, "sell": sell}
