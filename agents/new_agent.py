"""A new agent with all it needs: book, replay of its unseen period, settings, first training; all wanted to run."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from agents import algorithms
from agents.agent_settings import settings_of
from agents.configuration import demo_configuration
from agents.models import Agent, AgentConfiguration
from agents.runs import control
from core.models import Account, Book, Instrument
from core.simulation.fees import load_fees
from core.simulation.rules import MarketRules
from marketdata import control as stream_control
from marketdata.features.catalogue import CATALOGUE
from marketdata.models import DAY, Stream
from marketdata.queries import load_bars
from risk.models import Limits

# Shares of the bars: training up to the first, validation up to the second, the rest unseen.
SPLIT = (0.6, 0.8)


class NewAgentError(ValueError):
    """The agent cannot be made; the message says what to change."""


@dataclass(frozen=True, kw_only=True)
class NewAgent:
    """What an operator asks for."""

    name: str  # unique, letters, digits and hyphens
    algorithm: str  # a name known to agents/algorithms
    symbol: str  # an instrument with daily bars
    validation: date | None = None  # first day of the validation period; None: after 60 % of the bars
    unseen: date | None = None  # first day of the unseen period, which is replayed; None: after 80 %
    start_cash: Decimal = Decimal(50_000)  # of its book
    bars_per_second: float = 1.0  # of the replay


def main_account() -> Account:
    """The paper account agents trade on, with its limits; made at first use."""
    account, _ = Account.objects.get_or_create(name="main")
    Limits.objects.get_or_create(account=account)
    return account


@transaction.atomic
def create_agent(wish: NewAgent, *, actor: str) -> Agent:
    """Make the rows and start training, agent and replay. Raises: NewAgentError, ConfigurationError."""
    if wish.algorithm not in algorithms.names():
        known = ", ".join(algorithms.names())
        raise NewAgentError(f"there is no algorithm {wish.algorithm!r}; choose one of {known}")
    instrument = Instrument.objects.filter(symbol=wish.symbol).first()
    if instrument is None:
        raise NewAgentError(f"there is no instrument {wish.symbol}; import its bars first, see docs/data.md")
    if Agent.objects.filter(name=wish.name).exists():
        raise NewAgentError(f"there already is an agent {wish.name}; choose another name")
    validation, unseen, last = _periods(wish, instrument)
    cash = wish.start_cash
    book = Book.objects.create(account=main_account(), name=wish.name, start_cash=cash, cash=cash, peak_equity=cash)
    stream = Stream.objects.create(
        name=f"{wish.name}-replay", from_time=unseen, to_time=last, bars_per_second=wish.bars_per_second
    )
    stream.instruments.add(instrument)
    agent = Agent.objects.create(
        name=wish.name, algorithm=wish.algorithm, instrument=instrument, stream=stream, book=book
    )
    data = first_settings(wish.algorithm, instrument, validation.date(), unseen.date())
    settings_of(agent, data)
    AgentConfiguration.objects.create(agent=agent, version=1, data=data, created_by=actor)
    control.start_training(agent, actor=actor, queued=True)
    control.start(agent, actor=actor)
    stream_control.start(stream, actor=actor)
    return agent


def _periods(wish: NewAgent, instrument: Instrument) -> tuple[datetime, datetime, datetime]:
    """First bar of the validation and of the unseen period, and the last bar."""
    time = load_bars(instrument.pk, DAY).time
    if len(time) == 0:
        raise NewAgentError(f"{wish.symbol} has no daily bars; import some first, see docs/data.md")
    days = [datetime.fromtimestamp(int(second), UTC) for second in time]
    starts = []
    for chosen, share in zip((wish.validation, wish.unseen), SPLIT, strict=True):
        wanted = days[int(len(days) * share)] if chosen is None else datetime.combine(chosen, datetime.min.time(), UTC)
        first = next((day for day in days if day >= wanted), None)
        if first is None:
            raise NewAgentError(f"{wish.symbol} has no bars from {wanted:%Y-%m-%d} on; its last is {days[-1]:%Y-%m-%d}")
        starts.append(first)
    return starts[0], starts[1], days[-1]


def first_settings(algorithm: str, instrument: Instrument, validation: date, unseen: date) -> dict[str, Any]:
    """The demo's settings for an agent that acts like that, with the instrument's own steps and costs."""
    data = demo_configuration(algorithm, validation, unseen)
    rules = MarketRules.from_dict(data["rules"])
    rules = replace(
        rules,
        tick_size=float(instrument.tick_size),
        lot=float(instrument.lot_size),
        multiplier=float(instrument.multiplier),
        # Without volume a share of it would be nothing, and nothing would ever trade.
        participation=rules.participation if instrument.has_volume else 0.0,
    )
    commission = load_fees().values.get(instrument.asset_class)
    if commission is not None:
        rules = replace(rules, schedule="bps", commission_bps=commission.bps)
    if instrument.settled_daily:
        rules = replace(rules, schedule="ibkr_futures", settled_daily=True)
    data["rules"] = rules.to_dict()
    if not Instrument.objects.filter(symbol=data["training"]["vix"]).exists():
        data["features"] = [name for name in data["features"] if "vix" not in CATALOGUE[name].needs]
    return data
