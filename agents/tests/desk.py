"""Rows for tests: an agent on a made-up instrument with bars, its book, settings and a training run."""

from decimal import Decimal
from typing import Any

from agents.models import Agent, AgentConfiguration, TrainingRun
from agents.tests import worlds
from core.models import Account, Book, Instrument, JobRow
from marketdata.models import DAY
from marketdata.queries import copy_bars
from marketdata.series import BarSeries


def make_agent(
    algorithm: str = "ppo",
    *,
    name: str = "walker",
    mode: str = "paper",
    bars: BarSeries | None = None,
    settings: dict[str, Any] | None = None,
    **training: Any,
) -> Agent:
    """An agent on an instrument of the same name with `bars`, or 700 of `worlds.walk`; settings: besides training."""
    instrument = Instrument.objects.create(symbol=name.upper(), name=name, asset_class="stock")
    copy_bars(instrument.pk, DAY, worlds.walk() if bars is None else bars, "test")
    account = Account.objects.create(name=f"{name}-account", mode=mode)
    cash = Decimal(50_000)
    book = Book.objects.create(account=account, name=name, start_cash=cash, cash=cash, peak_equity=cash)
    agent = Agent.objects.create(name=name, algorithm=algorithm, instrument=instrument, book=book)
    data = worlds.configuration(algorithm, **training) | (settings or {})
    AgentConfiguration.objects.create(agent=agent, version=1, data=data)
    return agent


def make_run(agent: Agent, seed: int = 1) -> TrainingRun:
    """A run of the agent's newest settings, wanted to run."""
    return TrainingRun.objects.create(
        agent=agent, configuration=agent.configuration, seed=seed, desired_state=JobRow.Desired.RUNNING
    )
