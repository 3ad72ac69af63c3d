"""What a recurrent network remembers from bar to bar, kept in the agent's row so that a restart changes nothing."""

from datetime import datetime
from typing import Any

import numpy as np

from agents.market_view import MarketView
from agents.models import Agent, Decision
from agents.policies.policy import ServedPolicy
from core.journal import record

MOST_REPLAYED = 5_000  # decisions; a network that is older than that begins there


class PolicyMemory:
    """The memory of one agent's network. It belongs to a bar and a model version, and is used for no other.

    Where it does not fit, after a new model or bars the agent was stopped at, the agent's own decisions are replayed:
    features of their bars with the own state they were made on. The journal tells so.
    """

    def __init__(self, agent: Agent, version: int, policy: ServedPolicy) -> None:
        self.agent, self.version, self.policy = agent, version, policy

    def before(self, view: MarketView) -> np.ndarray:
        """What the network remembers before the view's newest bar, (n_memory,); empty for one without a memory."""
        start = self.policy.start()
        if not len(start):
            return start
        kept, last = Agent.objects.values_list("policy_memory", "last_bar_time").get(pk=self.agent.pk)
        if last is None:
            return start
        found = self._fitting(kept, last)
        return self._replayed(view, last) if found is None else found

    def keep(self, moment: datetime, memory: np.ndarray | None) -> None:
        """Store what it remembers after the bar that began at `moment`, in the caller's transaction."""
        if memory is None or not len(memory):
            return
        kept = {"bar": moment.isoformat(), "version": self.version, "values": memory.tolist()}
        Agent.objects.filter(pk=self.agent.pk).update(policy_memory=kept)

    def _fitting(self, kept: Any, last: datetime) -> np.ndarray | None:
        """The stored memory if it is this model's after the last bar."""
        if not isinstance(kept, dict) or (kept.get("bar"), kept.get("version")) != (last.isoformat(), self.version):
            return None
        values = np.array(kept.get("values"), dtype=np.float32)
        return values if values.shape == self.policy.start().shape and np.isfinite(values).all() else None

    def _replayed(self, view: MarketView, last: datetime) -> np.ndarray:
        """The memory after the agent's decisions so far."""
        decisions = Decision.objects.filter(agent=self.agent.pk, time__lte=last).order_by("-time")
        newest_first = decisions.values_list("time", "observation", "close", "quantity_before", "equity")
        rows = list(newest_first[:MOST_REPLAYED])[::-1]
        memory, n_replayed = self.policy.start(), 0
        if rows:
            times = view.times
            scaled = self.policy.normaliser.apply_series(view.history(), times)
            for moment, observed, close, held, equity in rows:
                own = [observed.get(name) for name in self.policy.own.names]
                place = int(np.searchsorted(times, int(moment.timestamp())))
                if None in own or place == len(times) or times[place] != int(moment.timestamp()):
                    continue
                seen = self.policy.observe_scaled(
                    scaled[max(place + 1 - self.policy.window, 0) : place + 1], np.array(own)
                )
                after = self.policy.decide(seen, memory, self.policy.mask(held, equity, close)).memory
                assert after is not None, "a network with a memory leaves one"
                memory, n_replayed = after, n_replayed + 1
        what = f"rebuilt from {n_replayed} of its decisions" if n_replayed else "empty: it begins anew"
        record(
            "agent.memory",
            f"{self.agent.name}: what its network remembered did not fit the bar of {last:%Y-%m-%d %H:%M}; now {what}",
            subject=f"agent:{self.agent.pk}",
            data={"bar": last.isoformat(), "version": self.version, "replayed": n_replayed},
        )
        return memory
