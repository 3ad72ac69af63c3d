"""Rows for tests of pages: a small desk with made-up numbers. Nothing here is real market data."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.contrib.auth.models import User

from agents.models import Agent, AgentConfiguration, Backtest, Decision, ModelVersion, TrainingRun, Trial
from core.models import Account, Book, EquitySnapshot, Event, Fill, Instrument, JobRow, Order, Position
from marketdata.models import DAY, Bar, Stream
from risk.models import Limits

START = datetime(2011, 1, 3, tzinfo=UTC)
N_HISTORY, N_PUBLISHED, N_HIDDEN = 120, 50, 40
DID = {"buy": "bought", "sell": "sold", "hold": "held"}
PASSWORD = "correct horse battery"


@dataclass
class Desk:
    """What a made-up desk consists of."""

    account: Account
    aapl: Agent
    ndx: Agent

    @property
    def agents(self) -> list[Agent]:
        return [self.aapl, self.ndx]


def operator(name: str = "olga") -> User:
    """A person who may press buttons."""
    return User.objects.create_user(name, password=PASSWORD, is_staff=True)


def viewer(name: str = "victor") -> User:
    """A person who may only look."""
    return User.objects.create_user(name, password=PASSWORD)


def desk() -> Desk:
    """Two agents on a paper account, in the middle of their replays, with everything the pages show."""
    account = Account.objects.create(name="main")
    Limits.objects.create(account=account, max_gross_exposure=1.0)
    aapl = Instrument.objects.create(symbol="AAPL", name="Apple Inc.", asset_class="stock", exchange="NASDAQ")
    index = Instrument.objects.create(symbol="IXIC", name="Nasdaq Composite", asset_class="index", tick_size=0)
    ndx = Instrument.objects.create(
        symbol="NDX3X",
        name="Three times the Nasdaq Composite",
        asset_class="etf",
        leverage_factor=3,
        underlying=index,
        constructed=True,
        construction="Each day three times the return of IXIC, before costs.",
        has_volume=False,
    )
    first = agent("aapl-swing", "ppo", aapl, account, price=180.0)
    second = agent("ndx3x-trend", "sac", ndx, account, price=60.0)
    Event.objects.create(kind="agent.started", message="aapl-swing started", actor="olga", subject="agent:1")
    Event.objects.create(
        kind="order.denied",
        level="attention",
        message="Order for 18 NDX3X denied: the position limit is 1.00 of the book's equity",
        actor="ndx3x-trend",
        data={"asked": 18, "allowed": 0},
    )
    return Desk(account, first, second)


def agent(name: str, algorithm: str, instrument: Instrument, account: Account, *, price: float) -> Agent:
    """An agent in the middle of its replay: bars, model, proof, decisions, orders, equity."""
    times = [START + timedelta(days=day) for day in range(N_HISTORY + N_PUBLISHED + N_HIDDEN)]
    prices = bars(instrument, times, price)
    unseen, cursor = times[N_HISTORY], times[N_HISTORY + N_PUBLISHED - 1]
    stream = Stream.objects.create(
        name=f"{name.split('-')[0]}-replay", from_time=unseen, to_time=times[-1], cursor=cursor, bars_per_second=2,
        desired_state=JobRow.Desired.RUNNING, state=JobRow.State.RUNNING, applied_version=1,
    )  # fmt: skip
    stream.instruments.add(instrument)
    book = Book.objects.create(account=account, name=name, start_cash=50_000, cash=50_000, peak_equity=50_000)
    made = Agent.objects.create(
        name=name, algorithm=algorithm, instrument=instrument, stream=stream, book=book, last_bar_time=cursor,
        desired_state=JobRow.Desired.RUNNING, state=JobRow.State.RUNNING, applied_version=1,
    )  # fmt: skip
    settings = configuration(made, unseen)
    version = model_version(made, settings)
    backtest(version, unseen, prices)
    trade(made, settings, version, times[N_HISTORY : N_HISTORY + N_PUBLISHED], prices)
    return made


def bars(instrument: Instrument, times: list[datetime], price: float) -> dict[datetime, float]:
    """A wave with a drift. Returns: the close per time."""
    closes, rows = {}, []
    previous = price
    for n, time in enumerate(times):
        close = price * (1 + 0.0012 * n + 0.06 * math.sin(n / 9) + 0.012 * math.sin(n * 1.7))
        span = price * 0.008 * (1 + abs(math.sin(n)))
        rows.append(Bar(
            instrument=instrument, time=time, open=previous, close=close, source="made up", interval_seconds=DAY,
            high=max(previous, close) + span, low=min(previous, close) - span, volume=1e6 * (1.2 + math.sin(n / 3)),
        ))  # fmt: skip
        closes[time], previous = close, close
    Bar.objects.bulk_create(rows)
    return closes


def configuration(agent: Agent, unseen: datetime) -> AgentConfiguration:
    """Settings of the shape that training reads."""
    data = {
        "features": ["rsi_14", "macd", "ema_50_slope", "vix"],
        "rules": {"half_spread_bps": 2.0},
        "reward": {"net_return": 1.0, "drawdown": 0.5},
        "training": {
            "periods": {"validation": "2011-03-20", "unseen": unseen.date().isoformat()},
            "n_trials": 4,
            "n_steps": 20_000,
        },
        "deploy_checks": {"largest_drawdown": 0.6, "min_trades": 1},
    }
    return AgentConfiguration.objects.create(agent=agent, version=1, data=data)


def training_run(agent: Agent, *, finished: bool, progress: float = 1.0) -> TrainingRun:
    """A run with four trials, the second the best."""
    state = JobRow.State.FINISHED if finished else JobRow.State.RUNNING
    now = datetime.now(UTC)
    run = TrainingRun.objects.create(
        agent=agent, configuration=agent.configuration, state=state, desired_state=JobRow.Desired.RUNNING,
        phase="finished" if finished else "trial 3 of 4", progress=progress, n_trials=4, n_steps_total=80_000,
        n_steps_done=int(80_000 * progress), steps_per_second=2150, study_name=f"{agent.name}-1",
        started_at=now - timedelta(minutes=4), finished_at=now if finished else None,
        created_by="olga", applied_version=1,
    )  # fmt: skip
    for number, value in enumerate([0.41, 0.97, None, 0.12]):
        Trial.objects.create(
            run=run, number=number, seed=number, value=value, duration_seconds=38.0 + number, is_best=number == 1,
            state=Trial.State.PRUNED if value is None else Trial.State.DONE,
            parameters={"learning_rate": 0.00031 * (number + 1), "net": "64-64", "gamma": 0.99},
            metrics={"total_return": (value or 0) / 5, "max_drawdown": 0.13, "n_trades": 14},
        )  # fmt: skip
    return run


def model_version(agent: Agent, settings: AgentConfiguration) -> ModelVersion:
    """A proven and deployed version."""
    version = ModelVersion.objects.create(
        agent=agent, version=1, run=training_run(agent, finished=True), state=ModelVersion.State.DEPLOYED,
        file=f"{agent.name}-v1.safetensors", sha256="9c41" * 16, weights_sha256="2f90" * 16, seed=1,
        data_fingerprint="77ab" * 16, code_version="0.1.0", library_versions={"torch": "2.13.0", "numpy": "2.4.0"},
        features=settings.data["features"], parameters={"learning_rate": 0.00031}, study_name=f"{agent.name}-1",
    )  # fmt: skip
    agent.deployed_version = version
    agent.save(update_fields=["deployed_version"])
    return version


def backtest(version: ModelVersion, start: datetime, prices: dict[datetime, float]) -> Backtest:
    """A report over a year of made-up equity."""
    times = [start + timedelta(days=day) for day in range(360)]
    equity = [50_000 * (1 + 0.0006 * n + 0.05 * math.sin(n / 25)) for n in range(360)]
    baseline = [50_000 * (1 + 0.0003 * n + 0.09 * math.sin(n / 21)) for n in range(360)]
    day = int(start.timestamp())
    return Backtest.objects.create(
        model_version=version, period=Backtest.Period.UNSEEN, from_time=times[0], to_time=times[-1],
        n_bars=360, passed=True,
        metrics={
            "total_return": 0.25, "annual_return": 0.253, "annual_volatility": 0.16, "sharpe_ratio": 0.92,
            "sortino_ratio": 1.31, "calmar_ratio": 1.9, "max_drawdown": 0.131, "longest_drawdown_bars": 88,
            "n_trades": 14, "win_rate": 0.571, "profit_factor": 1.46, "turnover": 11.2, "costs": 412.5,
        },
        baseline_metrics={"total_return": 0.11, "annual_return": 0.112, "sharpe_ratio": 0.31, "max_drawdown": 0.32},
        curve={
            "time": [int(time.timestamp()) for time in times], "equity": equity,
            "baseline": baseline, "exposure": [0.5] * 360,
        },
        trades=[
            {
                "entry_time": day + n * 1_987_200, "exit_time": day + n * 1_987_200 + 864_000, "side": 1,
                "quantity": 90.0, "entry_price": 181.2, "exit_price": 186.4 - n, "costs": 2.0, "result": 466.0 - 90 * n,
            }
            for n in range(8)
        ],
        reward_components={"net_return": 0.9, "drawdown": -0.33, "volatility": -0.12, "cost": -0.21},
        checks=[
            {"name": "largest_drawdown", "passed": True, "value": 0.131, "limit": 0.6},
            {"name": "min_trades", "passed": True, "value": 14, "limit": 1},
        ],
    )  # fmt: skip


def trade(
    agent: Agent,
    settings: AgentConfiguration,
    version: ModelVersion,
    times: list[datetime],
    prices: dict[datetime, float],
) -> None:
    """A decision per bar; it buys, and ten bars later sells, filled one bar after each decision."""
    book, quantity, cash, entry, peak, snapshots = agent.book, 0, 50_000.0, 0.0, 50_000.0, []
    for n, time in enumerate(times):
        wants = "buy" if n % 20 == 4 else "sell" if n % 20 == 14 else "hold"
        target = 100 if wants == "buy" else 0 if wants == "sell" else quantity
        decided = decision(
            agent, settings, version, time, wants, quantity, target, prices[time], 0.45 + 0.4 * abs(math.sin(n))
        )
        equity = cash + quantity * prices[time]
        peak = max(peak, equity)
        snapshots.append(EquitySnapshot(
            time=time, book=book, cash=round(cash, 4), equity=round(equity, 4), drawdown=1 - equity / peak,
            exposure=quantity * prices[time] / equity,
        ))  # fmt: skip
        if target != quantity and n + 1 < len(times):
            price = prices[time]
            fill(decided, agent, target - quantity, price, times[n + 1])
            cash -= (target - quantity) * price + 1
            entry, quantity = (price if target else 0.0), target
    EquitySnapshot.objects.bulk_create(snapshots)
    Book.objects.filter(pk=book.pk).update(cash=round(cash, 4), peak_equity=round(peak, 4))
    Position.objects.create(
        book=book, instrument=agent.instrument, quantity=quantity, average_price=round(entry, 4), last_time=times[-1],
        last_price=round(prices[times[-1]], 4), realised_result=Decimal("120.5"),
    )  # fmt: skip


def decision(
    agent: Agent,
    settings: AgentConfiguration,
    version: ModelVersion,
    time: datetime,
    wants: str,
    before: float,
    target: float,
    close: float,
    confidence: float,
) -> Decision:
    """One decision with all its reasons; buying asks for 40 more than the gate allows."""
    acts = target != before
    continuous = agent.algorithm == "sac"
    shares = [("Buy", 0.71), ("Hold", 0.26), ("Sell", 0.03)]
    rationale = {
        "sentence": f"It {DID[wants]} because RSI 14 fell to 28.4 while the 50-day average is rising by 0.31 % a day.",
        "preferences": [] if continuous else [{"label": label, "share": share} for label, share in shares],
        "contributions": [
            {"feature": "rsi_14", "label": "RSI 14", "value": 28.4, "display": "28.4", "contribution": 0.82},
            {
                "feature": "ema_50_slope",
                "label": "EMA 50 slope",
                "value": 0.0031,
                "display": "+0.31 %",
                "contribution": 0.55,
            },
            {"feature": "vix", "label": "VIX", "value": 17.9, "display": "17.9", "contribution": -0.22},
        ],
        "counterfactuals": [
            {
                "feature": "rsi_14",
                "label": "RSI 14",
                "value": 36.8,
                "display": "36.8",
                "direction": "above",
                "would": "hold",
            }
        ],
        "checks": [
            {"name": "Position limit", "passed": wants != "buy", "detail": "140 → 100", "code": "POSITION_LIMIT"},
            {"name": "Fresh data", "passed": True, "detail": "0 bars old", "code": "STALE_DATA"},
        ]
        if acts
        else [],
        "target": round(confidence - 0.3, 2) if continuous else None,
    }
    verdict = Decision.Verdict.NO_ORDER
    if acts:
        verdict = Decision.Verdict.RESIZED if wants == "buy" else Decision.Verdict.APPROVED
    return Decision.objects.create(
        time=time, agent=agent, instrument=agent.instrument, model_version=version, configuration=settings, action=1.0,
        label=wants, confidence=confidence, close=close, quantity_before=before, quantity_allowed=target,
        quantity_wanted=target + 40 if wants == "buy" else target, verdict=verdict, equity=50_000, rationale=rationale,
        reason_code="POSITION_LIMIT" if verdict == Decision.Verdict.RESIZED else "",
        observation={"rsi_14": 28.4, "vix": 17.9},
        reward=0.0021, reward_components={"net_return": 0.0026, "cost": -0.0003, "drawdown": -0.0002},
        latency_ms={"fills_and_value": 2.1, "features_and_policy": 1.8, "risk_gate": 0.4, "explanation": 4.2},
    )  # fmt: skip


def fill(decided: Decision, agent: Agent, quantity: float, price: float, time: datetime) -> Fill:
    """A filled order of a decision."""
    order = Order.objects.create(
        book=agent.book, instrument=agent.instrument, client_order_id=f"{agent.name}-{decided.pk}",
        decision_id=decided.pk,
        decided_at=decided.time, side="buy" if quantity > 0 else "sell", quantity=abs(quantity),
        quantity_asked=abs(quantity) + (40 if quantity > 0 else 0), filled_quantity=abs(quantity),
        status=Order.Status.FILLED,
    )  # fmt: skip
    return Fill.objects.create(
        time=time, order=order, book=agent.book, instrument=agent.instrument, execution_id=f"x-{order.pk}",
        quantity=quantity, price=round(price, 4), commission=Decimal(1), slippage=Decimal("0.35"),
    )  # fmt: skip
