"""The whole loop of one bar: fill, value, observe, decide, explain, pass the gate, store, send."""

import logging
import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
from django.db import transaction

from agents import registry
from agents.agent_settings import settings_of
from agents.configuration import AgentSettings, ConfigurationError
from agents.earnings import reward_since
from agents.environment.own_state import own_state
from agents.live_window import LiveWindow
from agents.market_view import MarketView
from agents.models import Agent, AgentConfiguration, Decision, ModelVersion
from agents.nights import nights_between
from agents.own_rows import OwnRows
from agents.policies.explain import explain
from agents.policies.normaliser import Scale
from agents.policies.normalisers import LiveScale
from agents.policies.outputs import PolicyOutput
from agents.policies.policy import ServedPolicy
from agents.policy_memory import PolicyMemory
from core.closed_bar import ClosedBar
from core.jobs import JobFailedError
from core.ledger import mark, to_money
from core.models import Book, EquitySnapshot, Instrument, JobRow, Order, Position
from core.notices import notify
from marketdata.models import Stream, Subscription
from marketdata.queries import next_bar_times
from risk import kill_switch
from risk.execution import Execution, Wish
from risk.gate import Verdict

logger = logging.getLogger(__name__)

MOST_COUNTED_BEHIND = 100
HAD_TO_CLOSE = "Its position had to be closed, whatever it chose."


class StoppedMeanwhileError(Exception):
    """The bar is not ours to deal with: the agent was stopped, or another process has dealt with it."""


@dataclass
class Stopwatch:
    """Milliseconds between the steps from bar to order."""

    last: float = field(default_factory=time.perf_counter)
    laps: dict[str, float] = field(default_factory=dict)

    def lap(self, name: str) -> None:
        """Note how long the step just ended took."""
        now = time.perf_counter()
        self.laps[name] = round((now - self.last) * 1000, 2)
        self.last = now


@dataclass(frozen=True, eq=False)
class Thought:
    """What the policy saw at one close and what it made of it."""

    values: np.ndarray  # (n,) raw features, NaN where missing
    values_before: np.ndarray  # (n,) the same one bar earlier
    own: np.ndarray  # (m,) raw own state
    observation: np.ndarray  # (n_inputs,) as the network sees it
    memory: np.ndarray  # what the network remembered before, empty where it has no memory
    mask: np.ndarray | None  # which actions made sense, for a policy that learned so
    scale: Scale  # of the features at this bar
    output: PolicyOutput
    held: float
    wanted: float
    equity: float


@dataclass
class BarLoop:
    """An agent with its model, settings and market view, ready for the next bar."""

    agent: Agent
    version: ModelVersion
    configuration: AgentConfiguration
    settings: AgentSettings
    policy: ServedPolicy
    execution: Execution
    view: MarketView
    scale: LiveScale
    own_rows: OwnRows
    window: LiveWindow
    memory: PolicyMemory

    @classmethod
    def load(cls, agent: Agent) -> "BarLoop":
        """Load what the agent's row names. Raises: JobFailedError for a refused model or wrong settings."""
        version = agent.deployed_version
        if version is None:
            raise JobFailedError(f"{agent.name} has no proven model")
        configuration = agent.configuration
        try:
            settings = settings_of(agent, configuration.data)
            policy = registry.load(version)
        except (registry.ModelRefused, ConfigurationError) as error:
            raise JobFailedError(str(error)) from error
        symbol = settings.training.vix if "vix" in policy.spec.needs else ""
        vix_id = Instrument.objects.filter(symbol=symbol).values_list("pk", flat=True).first()
        execution = Execution(agent.book, agent.instrument, settings.rules, interval_seconds=agent.interval_seconds)
        view = MarketView.open(agent.instrument_id, vix_id, agent.interval_seconds)
        return cls(
            agent, version, configuration, settings, policy, execution, view, LiveScale(policy.normaliser),
            OwnRows(agent), LiveWindow(policy), PolicyMemory(agent, version.pk, policy),
        )  # fmt: skip

    def serves(self, agent: Agent) -> bool:
        """Whether model and settings are still the ones the agent's row names."""
        same_model = self.version.pk == agent.deployed_version_id
        return same_model and self.configuration.pk == agent.configuration.pk

    def on_bar(self, moment: datetime, stream: Stream, *, paused: bool) -> Decision | None:
        """Deal with one published bar in one transaction, then send the order it led to.

        Returns: the decision, or None where a paused agent has nothing to close.
        Raises: StoppedMeanwhileError if the bar is not ours.
        """
        watch = Stopwatch()
        order: Order | None = None
        decision: Decision | None = None
        bar = self.view.look(moment)
        with transaction.atomic():
            agent = self._claim(moment)
            fills = self.execution.on_bar(self._with_atr(bar), n_days=self._nights(moment))
            snapshot = mark(agent.book, agent.instrument, time=moment, close=to_money(bar.close))
            reward_since(agent, snapshot, fills, self.settings)
            watch.lap("fills_and_value")
            # A paused agent decides nothing new, but what must be closed is closed for it too.
            if not paused or self._must_close() or self.execution.forced_flat():
                decision, order = self._decide(bar, snapshot, stream, watch)
            elif self.policy.network.has_memory:
                self._think(bar, snapshot)  # what it remembers has no gap where it was paused
            self._done_with(moment)
        if order is not None and decision is not None:
            watch.lap("stored")
            self.execution.send(order)
            watch.lap("sent")
            Decision.objects.filter(pk=decision.pk, time=decision.time).update(latency_ms=watch.laps)
        return decision

    def _nights(self, moment: datetime) -> int:
        """Calendar days since the session in which the book was last valued; 0 for its first bar."""
        last = EquitySnapshot.objects.filter(book=self.agent.book_id, time__lt=moment).order_by("-time").first()
        if last is None:
            return 0
        return nights_between(self.agent.instrument, self.agent.interval_seconds, last.time, moment)

    def _with_atr(self, bar: ClosedBar) -> ClosedBar:
        """The bar with the average true range known before it, where a trailing stop needs that."""
        if self.settings.rules.trail_atr == 0.0:
            return bar
        return replace(bar, atr_before=self.view.atr_before())

    def _claim(self, moment: datetime) -> Agent:
        """Lock the agent's row; a bar is dealt with once, by whoever holds the row first."""
        agent = Agent.objects.select_for_update(of=("self",)).select_related("book", "instrument").get(pk=self.agent.pk)
        if agent.desired_state == JobRow.Desired.STOPPED or (agent.last_bar_time and agent.last_bar_time >= moment):
            raise StoppedMeanwhileError
        return agent

    def _done_with(self, moment: datetime) -> None:
        Agent.objects.filter(pk=self.agent.pk).update(last_bar_time=moment)
        Subscription.objects.filter(stream=self.agent.stream, subscriber=self.agent.name).update(acknowledged=moment)
        notify("stream", stream=self.agent.stream_id)

    def _decide(
        self, bar: ClosedBar, snapshot: EquitySnapshot, stream: Stream, watch: Stopwatch
    ) -> tuple[Decision, Order | None]:
        """Observe, decide, explain, pass the gate, store."""
        thought = self._think(bar, snapshot)
        watch.lap("features_and_policy")
        wish = self._wish(bar, thought, stream)
        verdict = self.execution.judge(wish)
        watch.lap("risk_gate")
        rationale = explain(
            self.policy,
            thought.values,
            thought.own,
            thought.output,
            held=thought.held,
            wanted=thought.wanted,
            previous=thought.values_before,
            scale=thought.scale,
            observation=thought.observation,
            memory=thought.memory,
            mask=thought.mask,
        )
        if thought.held != 0.0 and (wish.forced or wish.closing_on_kill):
            rationale["sentence"] = f"{HAD_TO_CLOSE} {rationale['sentence']}"
        rationale["checks"] = [vars(check) for check in verdict.checks]
        watch.lap("explanation")
        decision = self._store(bar, thought, wish, verdict, rationale, watch)
        order = self.execution.store_intent(wish, verdict, decision_id=decision.pk)
        return decision, order

    def _think(self, bar: ClosedBar, snapshot: EquitySnapshot) -> Thought:
        """What the policy sees at this close and what it makes of it; a recurrent one's new memory is kept."""
        position = Position.objects.filter(book=self.agent.book_id, instrument=self.agent.instrument_id).first()
        held = float(position.quantity) if position else 0.0
        average = float(position.average_price) if position else 0.0
        age = position.age_bars if position else 0
        peak = Book.objects.values_list("peak_equity", flat=True).get(pk=self.agent.book_id)
        equity = float(snapshot.equity)
        values, before = self.view.features(self.policy.spec)
        history = self.own_rows.memory(bar) if self.policy.own.needs_history else None
        rules = self.settings.rules
        own = own_state(held, average, bar.close, equity, float(peak), age, rules, memory=history, spec=self.policy.own)
        scale = self.scale.at(self.view.times, before, self.view.history)
        observation = self.policy.observe_scaled(self.window.rows(self.view, values, scale), own)
        memory, mask = self.memory.before(self.view), self.policy.mask(held, equity, bar.close, rules)
        output = self.policy.decide(observation, memory, mask)
        self.memory.keep(bar.time, output.memory)
        wanted = self.policy.target_quantity(output.action, held, equity, bar.close, rules)
        return Thought(values, before, own, observation, memory, mask, scale, output, held, wanted, equity)

    def _must_close(self) -> bool:
        """Whether the kill switch asks for this agent's position to be closed."""
        state = kill_switch.state(self.execution.account)
        return bool(state and state.engaged and state.close_positions) and self.execution.held() != 0

    def _wish(self, bar: ClosedBar, thought: Thought, stream: Stream) -> Wish:
        """The target to ask the gate for; the kill switch's closing and ruin come before the policy's wish."""
        closing = self._must_close()
        ruined = thought.equity <= self.settings.rules.ruin_fraction * float(self.agent.book.start_cash)
        forced = not closing and (ruined or self.execution.forced_flat())
        return Wish(
            client_order_id=f"agent-{self.agent.pk}-{int(bar.time.timestamp())}",
            quantity=0.0 if closing or forced else thought.wanted,
            bar=bar,
            bars_behind=self._bars_behind(bar, stream),
            closing_on_kill=closing,
            forced=forced,
        )

    def _bars_behind(self, bar: ClosedBar, stream: Stream) -> int | None:
        """Published bars this decision does not know; None if the stream has published nothing."""
        cursor = Stream.objects.values_list("cursor", flat=True).get(pk=stream.pk)
        if cursor is None:
            return None
        newer = next_bar_times(
            [self.agent.instrument_id],
            self.agent.interval_seconds,
            after=bar.time,
            until=cursor,
            limit=MOST_COUNTED_BEHIND,
        )
        return len(newer)

    def _store(
        self,
        bar: ClosedBar,
        thought: Thought,
        wish: Wish,
        verdict: Verdict,
        rationale: dict[str, Any],
        watch: Stopwatch,
    ) -> Decision:
        observed = dict(zip(self.policy.spec.names, _plain(thought.values), strict=True))
        observed |= dict(zip(self.policy.own.names, _plain(thought.own), strict=True))
        decision = Decision.objects.create(
            time=bar.time,
            agent=self.agent,
            instrument_id=self.agent.instrument_id,
            model_version=self.version,
            configuration=self.configuration,
            action=thought.output.action,
            label=thought.output.label,
            confidence=thought.output.confidence,
            close=bar.close,
            quantity_before=thought.held,
            quantity_wanted=wish.quantity,
            quantity_allowed=verdict.quantity_allowed,
            verdict=verdict.verdict,
            reason_code=verdict.reason_code,
            observation=observed,
            rationale=rationale,
            equity=thought.equity,
            latency_ms=dict(watch.laps),
        )
        notify("decision", agent=self.agent.pk, instrument=self.agent.instrument_id)
        return decision


def _plain(values: np.ndarray) -> list[float | None]:
    """Floats fit for JSON: NaN, a missing input, becomes null."""
    return [None if value != value else float(value) for value in values]
