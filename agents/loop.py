"""The whole loop of one bar: fill, value, observe, decide, explain, pass the gate, store, send."""

import logging
import time
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from agents import registry
from agents.configuration import AgentSettings, ConfigurationError, parse
from agents.earnings import reward_since
from agents.explain import explain
from agents.market_view import MarketView
from agents.models import Agent, AgentConfiguration, Decision, ModelVersion
from agents.own_state import NAMES, own_state
from agents.policy import PolicyOutput, ServedPolicy
from core.brokers.base import ClosedBar
from core.jobs import JobFailedError
from core.ledger import mark, to_money
from core.models import EquitySnapshot, Instrument, JobRow, Order, Position
from core.notices import notify
from marketdata.models import Stream, Subscription
from marketdata.queries import next_bar_times
from risk import kill_switch
from risk.execution import Execution, Wish
from risk.gate import Verdict

logger = logging.getLogger(__name__)

MOST_COUNTED_BEHIND = 100


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

    @classmethod
    def load(cls, agent: Agent) -> "BarLoop":
        """Load what the agent's row names. Raises: JobFailedError for a refused model or wrong settings."""
        version = agent.deployed_version
        if version is None:
            raise JobFailedError(f"{agent.name} has no proven model")
        configuration = agent.configuration
        try:
            settings = parse(agent.algorithm, configuration.data)
            policy = registry.load(version)
        except (registry.ModelRefused, ConfigurationError) as error:
            raise JobFailedError(str(error)) from error
        symbol = settings.training.vix if "vix" in policy.spec.names else ""
        vix_id = Instrument.objects.filter(symbol=symbol).values_list("pk", flat=True).first()
        execution = Execution(agent.book, agent.instrument, settings.rules)
        view = MarketView.open(agent.instrument_id, vix_id, agent.interval_seconds)
        return cls(agent, version, configuration, settings, policy, execution, view)

    def serves(self, agent: Agent) -> bool:
        """Whether model and settings are still the ones the agent's row names."""
        same_model = self.version.pk == agent.deployed_version_id
        return same_model and self.configuration.pk == agent.configuration.pk

    def on_bar(self, moment: datetime, stream: Stream, *, paused: bool) -> Decision | None:
        """Deal with one published bar in one transaction, then send the order it led to.

        Returns: the decision, or None while paused. Raises: StoppedMeanwhileError if the bar is not ours.
        """
        watch = Stopwatch()
        order: Order | None = None
        decision: Decision | None = None
        bar = self.view.look(moment)
        with transaction.atomic():
            agent = self._claim(moment)
            fills = self.execution.on_bar(bar)
            snapshot = mark(agent.book, agent.instrument, time=moment, close=to_money(bar.close))
            reward_since(agent, snapshot, fills, self.settings)
            watch.lap("fills_and_value")
            if not paused:
                decision, order = self._decide(bar, snapshot, stream, watch)
            self._done_with(moment)
        if order is not None and decision is not None:
            watch.lap("stored")
            self.execution.send(order)
            watch.lap("sent")
            Decision.objects.filter(pk=decision.pk, time=decision.time).update(latency_ms=watch.laps)
        return decision

    def _claim(self, moment: datetime) -> Agent:
        """Lock the agent's row; a bar is dealt with once, by whoever holds the row first."""
        agent = Agent.objects.select_for_update(of=("self",)).select_related("book", "instrument").get(pk=self.agent.pk)
        if agent.desired_state == JobRow.Desired.STOPPED or (agent.last_bar_time and agent.last_bar_time >= moment):
            raise StoppedMeanwhileError
        return agent

    def _done_with(self, moment: datetime) -> None:
        Agent.objects.filter(pk=self.agent.pk).update(last_bar_time=moment)
        Subscription.objects.filter(stream_id=self.agent.stream_id, subscriber=self.agent.name).update(
            acknowledged=moment
        )
        notify("stream", stream=self.agent.stream_id)

    def _decide(
        self, bar: ClosedBar, snapshot: EquitySnapshot, stream: Stream, watch: Stopwatch
    ) -> tuple[Decision, Order | None]:
        position = Position.objects.filter(book=self.agent.book_id, instrument=self.agent.instrument_id).first()
        held = float(position.quantity) if position else 0.0
        equity = float(snapshot.equity)
        values, before = self.view.features(self.policy.spec)
        own = own_state(
            held,
            float(position.average_price) if position else 0.0,
            bar.close,
            equity,
            float(type(self.agent.book).objects.values_list("peak_equity", flat=True).get(pk=self.agent.book_id)),
            position.age_bars if position else 0,
            self.settings.rules,
        )
        observation = self.policy.observe(values, own)
        output = self.policy.decide(observation)
        watch.lap("features_and_policy")
        wanted = self.policy.target_quantity(output.action, held, equity, bar.close, self.settings.rules)
        wish = self._wish(bar, held, wanted, equity, stream)
        verdict = self.execution.judge(wish)
        watch.lap("risk_gate")
        rationale = explain(self.policy, values, own, output, previous=before, held=held, wanted=wanted)
        rationale["checks"] = [vars(check) for check in verdict.checks]
        watch.lap("explanation")
        observed = dict(zip(self.policy.spec.names, _plain(values), strict=True)) | dict(
            zip(NAMES, _plain(own), strict=True)
        )
        decision = self._store(bar, held, wish, output, verdict, rationale, observed, snapshot.equity, watch)
        order = self.execution.store_intent(wish, verdict, decision_id=decision.pk)
        return decision, order

    def _wish(self, bar: ClosedBar, held: float, wanted: float, equity: float, stream: Stream) -> Wish:
        """The target to ask the gate for; the kill switch's closing and ruin come before the policy's wish."""
        state = kill_switch.state(self.execution.account)
        closing = bool(state and state.engaged and state.close_positions and held != 0)
        ruined = equity <= self.settings.rules.ruin_fraction * float(self.agent.book.start_cash)
        return Wish(
            client_order_id=f"agent-{self.agent.pk}-{int(bar.time.timestamp())}",
            quantity=0.0 if closing or ruined else wanted,
            bar=bar,
            bars_behind=self._bars_behind(bar, stream),
            closing_on_kill=closing,
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
        held: float,
        wish: Wish,
        output: PolicyOutput,
        verdict: Verdict,
        rationale: dict,
        observed: dict[str, float | None],
        equity: Decimal,
        watch: Stopwatch,
    ) -> Decision:
        decision = Decision.objects.create(
            time=bar.time,
            agent=self.agent,
            instrument_id=self.agent.instrument_id,
            model_version=self.version,
            configuration=self.configuration,
            action=output.action,
            label=output.label,
            confidence=output.confidence,
            close=bar.close,
            quantity_before=held,
            quantity_wanted=wish.quantity,
            quantity_allowed=verdict.quantity_allowed,
            verdict=verdict.verdict,
            reason_code=verdict.reason_code,
            observation=observed,
            rationale=rationale,
            equity=float(equity),
            latency_ms=dict(watch.laps),
        )
        notify("decision", agent=self.agent.pk, instrument=self.agent.instrument_id)
        return decision


def _plain(values) -> list[float | None]:
    """Floats fit for JSON: NaN, a missing input, becomes null."""
    return [None if value != value else float(value) for value in values]
