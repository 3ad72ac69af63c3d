"""What the environment shows a policy bar after bar, to compare with what a live agent sees."""

from dataclasses import dataclass, field

import numpy as np

from agents.environment.env import EnvConfig, Market, TradingEnv
from agents.environment.own_state import own_state
from agents.policies.policy import ServedPolicy
from core.simulation import kernel


@dataclass
class Seen:
    """One entry per bar of a pass, the last bar's included."""

    observations: list[np.ndarray] = field(default_factory=list)
    owns: list[np.ndarray] = field(default_factory=list)  # raw own values
    averages: list[float] = field(default_factory=list)  # average price of the position
    memories: list[np.ndarray] = field(default_factory=list)  # what the network remembered before the bar


def seen_by_the_environment(policy: ServedPolicy, market: Market, first: int) -> Seen:
    """The policy's way through the environment from row `first` to the market's end."""
    config = EnvConfig(action=policy.actions, rules=policy.rules, first=first, own=policy.own, window=policy.window)
    env = TradingEnv(market, config)
    observation, _ = env.reset()
    found, memory, over = Seen(), policy.start(), False
    while True:
        position, account = env.positions[0], env.account
        found.observations.append(observation)
        found.memories.append(memory)
        found.averages.append(float(position[kernel.AVERAGE_PRICE]))
        found.owns.append(
            own_state(
                position[kernel.QUANTITY], position[kernel.AVERAGE_PRICE], market.close[env.t],
                account[kernel.EQUITY], account[kernel.PEAK], position[kernel.AGE], policy.rules,
                memory=env.memory if policy.own.needs_history else None, spec=policy.own,
            )
        )  # fmt: skip
        if over:
            return found
        output = policy.decide(observation, memory, env.action_masks() if policy.head.masked else None)
        assert output.memory is not None
        memory = output.memory
        observation, _, _, over, _ = env.step(output.action)
