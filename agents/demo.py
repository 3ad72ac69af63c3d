"""The demo desk: two agents on real bars, trained on this machine, then trading the unseen period on paper."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from django.db import transaction

from agents import control
from agents.configuration import demo_configuration
from agents.models import Agent, AgentConfiguration
from core.models import Account, Book, Instrument
from marketdata import control as stream_control
from marketdata.demo import import_demo
from marketdata.models import DAY, Stream
from marketdata.queries import bar_at_or_after, last_bar
from risk.models import Limits

START_CASH = Decimal(50_000)
ACTOR = "demo"


@dataclass(frozen=True)
class DemoAgent:
    """One agent of the demo: what it trades and where its history is cut."""

    name: str
    algorithm: str
    symbol: str
    validation: date  # first day of the period the study compares its trials on
    unseen: date  # first day of the period that training never sees; the replay begins here
    bars_per_second: float


DEMO = (
    DemoAgent("aapl-swing", "ppo", "AAPL", date(2009, 1, 2), date(2011, 7, 1), 1.0),
    DemoAgent("ndx3x-trend", "sac", "NDX3X", date(2015, 1, 2), date(2017, 1, 3), 1.0),
)


def setup_demo(log: Callable[[str], None] = print) -> None:
    """Import the demo's bars and create what is missing; what exists is left as it is, so it may run at every start."""
    import_demo(log=log)
    account = _account()
    for demo in DEMO:
        if not Agent.objects.filter(name=demo.name).exists():
            _create(demo, account)
            log(f"Created agent {demo.name}; its training starts with the desk.")


@transaction.atomic
def _account() -> Account:
    account, _ = Account.objects.get_or_create(name="main")
    Limits.objects.get_or_create(account=account)
    return account


@transaction.atomic
def _create(demo: DemoAgent, account: Account) -> None:
    """One agent with its book, stream, settings and first training, all wanted to run."""
    instrument = Instrument.objects.get(symbol=demo.symbol)
    stream = _stream(demo, instrument)
    book = Book.objects.create(
        account=account, name=demo.name, start_cash=START_CASH, cash=START_CASH, peak_equity=START_CASH
    )
    agent = Agent.objects.create(
        name=demo.name, algorithm=demo.algorithm, instrument=instrument, stream=stream, book=book
    )
    settings = demo_configuration(demo.algorithm, demo.validation, demo.unseen)
    AgentConfiguration.objects.create(agent=agent, version=1, data=settings, created_by=ACTOR)
    control.start_training(agent, actor=ACTOR)
    control.start(agent, actor=ACTOR)
    stream_control.start(stream, actor=ACTOR)


def _stream(demo: DemoAgent, instrument: Instrument) -> Stream:
    """A replay of the unseen period. Raises: ValueError if there are no bars of it."""
    begin = datetime.combine(demo.unseen, datetime.min.time(), UTC)
    first = bar_at_or_after(instrument.pk, DAY, begin)
    last = last_bar(instrument.pk, DAY)
    if first is None or last is None:
        raise ValueError(f"{demo.symbol} has no bars from {demo.unseen} on; import the demo's bars first")
    stream = Stream.objects.create(
        name=f"{demo.name}-replay", from_time=first.time, to_time=last.time, bars_per_second=demo.bars_per_second
    )
    stream.instruments.add(instrument)
    return stream
