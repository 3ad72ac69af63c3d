"""A small desk for tests: seeded bars, an agent with a real policy file, a stream, all as rows."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import torch
from django.conf import settings

from agents.configuration import AgentSettings, DeployChecks, TrainingSettings
from agents.environment.rewards import RewardSettings
from agents.models import Agent, AgentConfiguration, ModelVersion, TrainingRun
from agents.policies.backtest import BacktestResult, run_backtest
from agents.policies.features import FeatureSpec
from agents.policies.normaliser import Normaliser
from agents.policies.policy import ServedPolicy
from agents.runs.dataset import market_of
from core.models import Account, Book, Instrument
from core.simulation.rules import MarketRules
from marketdata.models import DAY, Stream, Subscription
from marketdata.queries import copy_bars
from marketdata.series import BarSeries
from risk.models import Limits

FEATURES = ("rsi_14", "macd", "ema_10", "ema_50", "return_1", "return_5", "volatility_20")
FIRST_DAY = datetime(2010, 1, 4, tzinfo=UTC)
N_HISTORY = 120
START_CASH = Decimal(50_000)
RULES = {
    "ppo": MarketRules(half_spread_bps=1.5, impact_bps=10.0, participation=0.05),
    "sac": MarketRules(half_spread_bps=3.0, schedule="bps", commission_bps=1.0, no_trade_band=0.05),
}


def seeded_bars(n_bars: int, seed: int = 1) -> BarSeries:
    """Daily bars of a random walk that swings enough to be bought and sold; weekdays only."""
    random = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(0.02 * random.standard_normal(n_bars)))
    open_ = np.concatenate([[100.0], close[:-1]]) * np.exp(0.005 * random.standard_normal(n_bars))
    spread = 1.0 + 0.004 * random.random(n_bars)
    days = [FIRST_DAY + timedelta(days=7 * (i // 5) + i % 5) for i in range(n_bars)]
    return BarSeries(
        time=np.array([int(day.timestamp()) for day in days]),
        open=np.round(open_, 2),
        high=np.round(np.maximum(open_, close) * spread, 2),
        low=np.round(np.minimum(open_, close) / spread, 2),
        close=np.round(close, 2),
        volume=np.round(1e6 * random.random(n_bars) + 1e5),
    )


def random_policy(algorithm: str, bars: BarSeries, seed: int = 1) -> ServedPolicy:
    """An untrained policy whose weights are large enough that its mind changes with the market."""
    generator = torch.Generator().manual_seed(seed)
    spec = FeatureSpec(FEATURES)
    normaliser = Normaliser.fit(spec.compute(bars, None)[spec.warm_up :])
    sizes = {"body.0": (8, len(FEATURES) + 4), "head": (3 if algorithm == "ppo" else 1, 8)}
    if algorithm == "sac":
        sizes["deviation_head"] = (1, 8)
    weights: dict[str, torch.Tensor] = {}
    for name, (outputs, inputs) in sizes.items():
        weights[f"{name}.weight"] = torch.randn(outputs, inputs, generator=generator)
        weights[f"{name}.bias"] = torch.zeros(outputs)
    activation = "tanh" if algorithm == "ppo" else "relu"
    return ServedPolicy.from_weights(algorithm, spec, normaliser, RULES[algorithm], (8,), activation, weights)


def agent_settings(algorithm: str) -> AgentSettings:
    """Settings that fit `random_policy`."""
    return AgentSettings(
        algorithm=algorithm,
        features=FeatureSpec(FEATURES),
        rules=RULES[algorithm],
        reward=RewardSettings(drawdown=0.5),
        training=TrainingSettings(validation=date(2010, 6, 1), unseen=date(2010, 9, 1), vix=""),
        deploy_checks=DeployChecks(),
    )


@dataclass
class SmallDesk:
    """The rows of one agent's desk."""

    account: Account
    agent: Agent
    stream: Stream
    bars: BarSeries
    policy: ServedPolicy
    version: ModelVersion

    def times(self) -> list[datetime]:
        """The stream's bars, oldest first."""
        return [datetime.fromtimestamp(int(second), UTC) for second in self.bars.time[N_HISTORY:]]


def small_desk(algorithm: str = "ppo", *, n_bars: int = 80, name: str = "tester", seed: int = 1) -> SmallDesk:
    """Create it; the agent is wanted to run and the stream begins after N_HISTORY bars of history."""
    bars = seeded_bars(N_HISTORY + n_bars, seed)
    account, _ = Account.objects.get_or_create(name="main")
    Limits.objects.get_or_create(account=account)
    instrument = Instrument.objects.create(symbol=name.upper(), name=name, asset_class=Instrument.AssetClass.STOCK)
    copy_bars(instrument.pk, DAY, bars, "test")
    first, last = (datetime.fromtimestamp(int(bars.time[i]), UTC) for i in (N_HISTORY, -1))
    stream = Stream.objects.create(name=f"{name}-replay", from_time=first, to_time=last, bars_per_second=0)
    stream.instruments.add(instrument)
    book = Book.objects.create(
        account=account, name=name, start_cash=START_CASH, cash=START_CASH, peak_equity=START_CASH
    )
    agent = Agent.objects.create(
        name=name, algorithm=algorithm, instrument=instrument, stream=stream, book=book, desired_state="running"
    )
    AgentConfiguration.objects.create(agent=agent, version=1, data=agent_settings(algorithm).to_dict())
    policy = random_policy(algorithm, bars, seed)
    version = stored_version(agent, policy)
    Agent.objects.filter(pk=agent.pk).update(deployed_version=version)
    agent.refresh_from_db()
    Subscription.objects.create(stream=stream, subscriber=agent.name, active=True)
    return SmallDesk(account, agent, stream, bars, policy, version)


def backtest_of(desk: SmallDesk) -> BacktestResult:
    """What the fast backtest makes of the stream's bars."""
    raw = desk.policy.spec.compute(desk.bars, None)
    market = market_of(desk.bars, desk.policy.normaliser.apply(raw))
    reward = agent_settings(desk.agent.algorithm).reward
    return run_backtest(desk.policy, market, desk.bars.time, N_HISTORY, len(desk.bars) - 1, reward=reward)


def expected_of(desk: SmallDesk) -> dict[str, list]:
    """Equity per bar and fills (seconds, quantity, price, commission), fit for JSON."""
    result = backtest_of(desk)
    fills = [[int(result.time[int(bar)]), *rest] for bar, *rest in result.track.fills.tolist()]
    return {"equity": result.track.equity.tolist(), "fills": fills}


def stored_version(agent: Agent, policy: ServedPolicy, number: int = 1) -> ModelVersion:
    """A deployed version of `policy` with its file in the models folder."""
    data = policy.to_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    settings.MODELS_DIR.mkdir(parents=True, exist_ok=True)
    file = f"{agent.name}-v{number}-{sha256[:8]}.safetensors"
    (settings.MODELS_DIR / file).write_bytes(data)
    run = TrainingRun.objects.create(agent=agent, configuration=agent.configuration, state="finished")
    return ModelVersion.objects.create(
        agent=agent,
        version=number,
        run=run,
        state=ModelVersion.State.DEPLOYED,
        file=file,
        sha256=sha256,
        weights_sha256=policy.weights_sha256(),
        seed=1,
        data_fingerprint="0" * 64,
        code_version="test",
        features=list(policy.spec.names),
        study_name="test",
    )
