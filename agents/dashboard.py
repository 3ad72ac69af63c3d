"""What each panel of the dashboard shows, read from rows. One function per panel; templates do the wording."""

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from agents.models import Agent, Backtest, Decision, TrainingRun
from agents.trades import recent_trades
from agents.training_pages.training_rows import RunView, working
from core import health
from core.job_words import wish
from core.models import Account, Book, EquitySnapshot, Event, JobRow, Order, Position
from marketdata.models import Bar, Stream
from risk.models import Limits

ZERO = Decimal(0)
N_CURVE = 80
SPEEDS = (
    (0.5, "0.5 bars a second"),
    (1, "1 bar a second"),
    (2, "2 bars a second"),
    (5, "5 bars a second"),
    (20, "20 bars a second"),
    (0, "as fast as possible"),
)
STATE_WORDS = {"running": "trading", "finished": "finished its replay", "failed": "stopped by an error"}
# A line of the journal belongs to a feed by the first word of its kind.
FEEDS = {
    "orders": r"^(order|fill)\.",
    "risk": r"^(kill_switch|risk|limits)\.",
    "system": r"^(?!(order|fill|kill_switch|risk|limits)\.)",
}


@dataclass(frozen=True)
class BookValue:
    """A book and its newest equity."""

    book: Book
    snapshot: EquitySnapshot | None

    @property
    def equity(self) -> Decimal:
        return self.snapshot.equity if self.snapshot else self.book.cash

    @property
    def result(self) -> Decimal:
        return self.equity - self.book.start_cash

    @property
    def result_fraction(self) -> float:
        return float(self.result / self.book.start_cash) if self.book.start_cash else 0.0

    @property
    def position_value(self) -> Decimal:
        return Decimal(str(self.snapshot.exposure)) * self.snapshot.equity if self.snapshot else ZERO


def value_of(book: Book) -> BookValue:
    """The book with its newest snapshot."""
    return BookValue(book, EquitySnapshot.objects.filter(book=book).order_by("-time").first())


def stats(account: Account | None) -> dict[str, Any]:
    """The five numbers of an account; equity is the sum over its books."""
    values = [value_of(book) for book in Book.objects.filter(account=account)] if account else []
    equity = sum((value.equity for value in values), ZERO)
    start = sum((value.book.start_cash for value in values), ZERO)
    # Books replay different years, so their peaks are never reached together: this is the cautious sum.
    peak = sum((max(value.book.peak_equity, value.equity) for value in values), ZERO)
    rows = list(Position.objects.filter(book__account=account).select_related("instrument")) if account else []
    realised = sum((position.realised_result for position in rows), ZERO)
    gross = sum((abs(value.position_value) for value in values), ZERO)
    look_through = sum(
        (
            abs(row.quantity * row.last_price * row.instrument.multiplier * row.instrument.leverage_factor)
            for row in rows
        ),
        ZERO,
    )
    limits = Limits.objects.filter(account=account).first() if account else None
    orders = Order.objects.filter(book__account=account)
    verdicts = Counter(Decision.objects.filter(agent__book__account=account).values_list("verdict", flat=True))
    return {
        "equity": equity, "start": start, "result": equity - start,
        "result_fraction": (equity - start) / start if start else None,
        "realised": realised, "open": equity - start - realised,
        "exposure": gross / equity if equity else None, "look_through": look_through / equity if equity else None,
        "has_leverage": any(row.quantity and row.instrument.leverage_factor != 1 for row in rows),
        "limit": limits.max_gross_exposure if limits else None,
        "drawdown": 1 - equity / peak if peak else None, "n_books": len(values),
        "n_decisions": sum(verdicts.values()), "n_orders": orders.exclude(status=Order.Status.DENIED).count(),
        "n_resized": verdicts[Decision.Verdict.RESIZED], "n_denied": verdicts[Decision.Verdict.DENIED],
    }  # fmt: skip


class AgentView:
    """One agent as the panel and the agents page show it; everything is read on first use."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.wish = wish(agent)

    @cached_property
    def value(self) -> BookValue:
        return value_of(self.agent.book)

    @cached_property
    def position(self) -> Position | None:
        positions = Position.objects.filter(book=self.agent.book, instrument=self.agent.instrument)
        return positions.exclude(quantity=0).first()

    @cached_property
    def decision(self) -> Decision | None:
        return Decision.objects.filter(agent=self.agent).order_by("-time").first()

    @cached_property
    def curve(self) -> list[float]:
        rows = EquitySnapshot.objects.filter(book=self.agent.book).order_by("-time")[:N_CURVE]
        return [float(row.equity) for row in rows][::-1]

    @cached_property
    def run(self) -> TrainingRun | None:
        """The training run in progress."""
        return working().filter(agent=self.agent).first()

    @property
    def target(self) -> float | None:
        """The wanted position of a policy that aims continuously, -1 to 1."""
        return self.decision.rationale.get("target") if self.decision else None

    @property
    def dot(self) -> str:
        state = self.agent.state
        if state == JobRow.State.FAILED:
            return "loss"
        if self.wish or state in (JobRow.State.STARTING, JobRow.State.WAITING, JobRow.State.PAUSED):
            return "warn"
        return "" if state == JobRow.State.RUNNING else "off"

    @property
    def state_word(self) -> str:
        return self.wish or STATE_WORDS.get(self.agent.state, self.agent.get_state_display())

    @property
    def can_start(self) -> bool:
        return not self.wish and self.agent.state in (JobRow.State.STOPPED, JobRow.State.FAILED, JobRow.State.FINISHED)

    @property
    def can_pause(self) -> bool:
        return not self.wish and self.agent.state in (JobRow.State.RUNNING, JobRow.State.WAITING)

    @property
    def can_resume(self) -> bool:
        return not self.wish and self.agent.state == JobRow.State.PAUSED

    @property
    def can_stop(self) -> bool:
        stopping = self.agent.desired_state == JobRow.Desired.STOPPED
        return not stopping and not self.can_start


def agent_views() -> list[AgentView]:
    """All agents, in the order they were made."""
    agents = Agent.objects.select_related("instrument", "book", "stream", "deployed_version", "book__account")
    return [AgentView(agent) for agent in agents.order_by("id")]


def positions(account: Account | None) -> list[Position]:
    """Open positions with their instrument and book."""
    rows = Position.objects.filter(book__account=account).exclude(quantity=0)
    return list(rows.select_related("instrument", "book", "book__agent"))


def events(feed: str = "", limit: int = 6) -> list[Event]:
    """The newest lines of the journal, all or one feed of FEEDS."""
    rows = Event.objects.all()
    if feed in FEEDS:
        rows = rows.filter(kind__regex=FEEDS[feed])
    return list(rows.order_by("-time", "-id")[:limit])


def latest_backtests() -> list[Backtest]:
    """The newest backtest over the unseen period of each agent."""
    rows = Backtest.objects.filter(period=Backtest.Period.UNSEEN).select_related("model_version__agent__instrument")
    newest: dict[int, Backtest] = {}
    for row in rows.order_by("id"):
        newest[row.model_version.agent_id] = row
    return list(newest.values())


def replay(stream: Stream | None) -> dict[str, Any] | None:
    """Where a stream stands: bars published, of a replay also of how many, and whether its controls wait."""
    if stream is None:
        return None
    instrument = stream.instruments.order_by("agents__id").first()
    bars = Bar.objects.filter(
        instrument=instrument, interval_seconds=stream.interval_seconds, time__gte=stream.from_time
    )
    n_done = bars.filter(time__lte=stream.cursor).count() if stream.cursor else 0
    # A live stream has no end to count up to.
    n_all = n_done if stream.is_live else bars.filter(time__lte=stream.to_time).count()
    ended = bool(n_all) and n_done == n_all and not stream.is_live
    return {"stream": stream, "wish": wish(stream), "n_all": n_all, "n_done": n_done, "speeds": SPEEDS, "ended": ended}


def panel(name: str, account: Account | None, chosen: Agent | None, parameters: Any) -> dict[str, Any]:
    """The context of one panel. Raises: KeyError for a name that is not in PANELS."""
    return PANELS[name](account, chosen, parameters)


PANELS: dict[str, Any] = {
    "stats": lambda account, chosen, parameters: {"stats": stats(account)},
    "agents": lambda account, chosen, parameters: {"agents": agent_views()},
    "agent_cards": lambda account, chosen, parameters: {"agents": agent_views()},
    "positions": lambda account, chosen, parameters: {"positions": positions(account)},
    "trades": lambda account, chosen, parameters: {"trades": recent_trades(account.pk if account else None, 6)},
    "events": lambda account, chosen, parameters: {
        "events": events(parameters.get("feed", "")),
        "feed": parameters.get("feed", ""),
    },
    "health": lambda account, chosen, parameters: {"components": health.components()},
    "training": lambda account, chosen, parameters: {"active": [RunView(run) for run in working()]},
    "backtests": lambda account, chosen, parameters: {"backtests": latest_backtests()},
    "replay": lambda account, chosen, parameters: {"replay": replay(chosen.stream if chosen else None)},
    "banner": lambda account, chosen, parameters: {},
    "bar": lambda account, chosen, parameters: {},
}
