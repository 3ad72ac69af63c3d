"""What a live decision earned: the reward of training, computed from the ledger once the next bar has closed."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np

from agents.configuration import AgentSettings
from agents.environment.actions import TARGET
from agents.environment.rewards import reward
from agents.models import Agent, Decision
from core.models import EquitySnapshot, Fill, Position
from core.simulation import kernel


@dataclass(frozen=True)
class Moments:
    """What the components of the next bar depend on, as the kernel's account has it; stored with each reward."""

    variance: float = 0.0  # of net returns
    sharpe_a: float = 0.0  # first moment of net returns
    sharpe_b: float = 0.0  # second moment
    downside: float = 0.0  # second moment of the losses

    @classmethod
    def stored(cls, components: dict[str, Any]) -> Self:
        """Those among a decision's stored components; 0 where none are."""
        return cls(**{field.name: float(components.get(field.name) or 0.0) for field in fields(cls)})

    def after(self, net_return: float, rules: np.ndarray) -> "Moments":
        """With one more return. rules: (N_RULES,)."""
        decay, rate = float(rules[kernel.RULE_VOLATILITY_DECAY]), float(rules[kernel.RULE_SHARPE_RATE])
        loss = min(net_return, 0.0)
        return Moments(
            decay * self.variance + (1.0 - decay) * net_return**2,
            self.sharpe_a + rate * (net_return - self.sharpe_a),
            self.sharpe_b + rate * (net_return**2 - self.sharpe_b),
            self.downside + rate * (loss**2 - self.downside),
        )


def components_between(
    before: EquitySnapshot,
    after: EquitySnapshot,
    fills: list[Fill],
    moments: Moments,
    rules: np.ndarray,
    *,
    age_bars: float = 0.0,
    change: float = 0.0,
) -> tuple[dict[str, float], Moments]:
    """The kernel's reward components of one bar, from two valuations and the fills between them.

    moments: before the bar; rules: (N_RULES,); age_bars: of the position at the second close; change: of a continuous
    action since the decision before, at least 0.
    Returns: components by name, and the new moments.
    """
    start = float(before.equity)
    net_return = float(after.equity) / start - 1.0 if start > 0 else 0.0
    learns = rules[kernel.RULE_SHARPE_RATE] > 0.0
    sharpe = kernel.differential_sharpe(net_return, moments.sharpe_a, moments.sharpe_b) if learns else 0.0
    downside = kernel.differential_downside(net_return, moments.sharpe_a, moments.downside) if learns else 0.0
    later = moments.after(net_return, rules)
    paid = sum(float(fill.commission + fill.slippage) for fill in fills)
    return {
        "net_return": net_return,
        "log_return": math.log1p(max(net_return, kernel.WORST_LOGGED_RETURN)),
        "drawdown": -max(0.0, after.drawdown - before.drawdown),
        "volatility": -math.sqrt(later.variance),
        "cost": -paid / start if start > 0 else 0.0,
        "differential_sharpe": float(sharpe),
        "differential_downside": float(downside),
        "holding": -age_bars * abs(after.exposure),
        "consistency": -change,
    }, later


def reward_since(agent: Agent, snapshot: EquitySnapshot, fills: list[Fill], settings: AgentSettings) -> None:
    """Write on the previous decision what it brought, if it was made at the bar before this one."""
    before = EquitySnapshot.objects.filter(book=agent.book_id, time__lt=snapshot.time).order_by("-time").first()
    if before is None:
        return
    two = list(Decision.objects.filter(agent=agent, time__lte=before.time).order_by("-time")[:2])
    if not two or two[0].time != before.time:
        return
    moments = Moments.stored(two[1].reward_components if len(two) > 1 else {})
    position = Position.objects.filter(book=agent.book_id, instrument=agent.instrument_id).exclude(quantity=0).first()
    components, moments = components_between(
        before, snapshot, fills, moments, settings.rules.as_array(),
        age_bars=position.age_bars if position else 0.0, change=_change(two) if settings.actions == TARGET else 0.0,
    )  # fmt: skip
    earned, components = reward(components, settings.reward)
    Decision.objects.filter(pk=two[0].pk, time=two[0].time).update(
        reward=earned, reward_components={**components, **asdict(moments)}
    )


def _change(newest_first: list[Decision]) -> float:
    """How far a continuous action moved since the decision before, within its bounds; 0 for the first."""
    if len(newest_first) < 2:
        return 0.0
    now, before = (min(max(float(decision.action), -1.0), 1.0) for decision in newest_first)
    return abs(now - before)
