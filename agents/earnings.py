"""What a live decision earned: the reward of training, computed from the ledger once the next bar has closed."""

import math

from agents.configuration import AgentSettings
from agents.models import Agent, Decision
from agents.rewards import reward
from core.models import EquitySnapshot, Fill
from core.simulation import first_kernel as kernel


def components_between(
    before: EquitySnapshot, after: EquitySnapshot, fills: list[Fill], variance: float, decay: float
) -> tuple[dict[str, float], float]:
    """The kernel's reward components of one bar, from two valuations and the fills between them.

    variance: running mean of squared returns before the bar; decay: its weight in the new one.
    Returns: components by name, and the new variance.
    """
    start = float(before.equity)
    net_return = float(after.equity) / start - 1.0 if start > 0 else 0.0
    variance = decay * variance + (1.0 - decay) * net_return**2
    paid = sum(float(fill.commission + fill.slippage) for fill in fills)
    return {
        "net_return": net_return,
        "log_return": math.log1p(max(net_return, kernel.WORST_LOGGED_RETURN)),
        "drawdown": -max(0.0, after.drawdown - before.drawdown),
        "volatility": -math.sqrt(variance),
        "cost": -paid / start if start > 0 else 0.0,
    }, variance


def reward_since(agent: Agent, snapshot: EquitySnapshot, fills: list[Fill], settings: AgentSettings) -> None:
    """Write on the previous decision what it brought, if it was made at the bar before this one."""
    before = EquitySnapshot.objects.filter(book=agent.book_id, time__lt=snapshot.time).order_by("-time").first()
    if before is None:
        return
    two = list(Decision.objects.filter(agent=agent, time__lte=before.time).order_by("-time")[:2])
    if not two or two[0].time != before.time:
        return
    variance = two[1].reward_components.get("variance", 0.0) if len(two) > 1 else 0.0
    decay = float(settings.rules.as_array()[kernel.RULE_VOLATILITY_DECAY])
    components, variance = components_between(before, snapshot, fills, variance, decay)
    earned, components = reward(components, settings.reward)
    Decision.objects.filter(pk=two[0].pk, time=two[0].time).update(
        reward=earned, reward_components={**components, "variance": variance}
    )
