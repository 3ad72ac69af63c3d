"""From training to trading: a process learns a version, the desk deploys it, and live it does what its report says."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from safetensors.numpy import load_file

from agents import registry
from agents.loop import BarLoop
from agents.models import Agent, Backtest, Decision, ModelVersion, TrainingRun
from agents.policies.backtest import run_backtest
from agents.runs.learning import Lesson, make_learner
from agents.runs.run_data import assignment_of
from agents.tests import worlds
from agents.tests.desk import make_agent, make_run
from agents.tests.processes import Trainings, trainings_in
from core.models import EquitySnapshot, Fill
from marketdata.models import Stream, Subscription
from marketdata.replay import publish
from marketdata.series import BarSeries
from risk.models import Limits
from tests import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
UNSEEN = 550  # first row of the unseen period of `worlds`
N_LIVE = 60
PERIOD = 8


@pytest.fixture
def trainings(settings, tmp_path) -> Iterator[Trainings]:
    with trainings_in(tmp_path, settings) as found:
        yield found


def waves(noise: float = 0.004) -> BarSeries:
    """Four days up and four down by 1.5 %, with noise: past returns tell what comes, holding makes about nothing."""
    bars, random = worlds.walk(), np.random.default_rng(5)
    rate = np.where(np.arange(700) % PERIOD < PERIOD // 2, 0.015, -0.015) + noise * random.standard_normal(700)
    close = np.round(100 * np.exp(np.cumsum(rate - rate.mean())), 2)
    open_ = np.concatenate([[100.0], close[:-1]])
    return BarSeries(bars.time, open_, np.maximum(open_, close), np.minimum(open_, close), close, bars.volume)


def agent_on_waves(algorithm: str, settings: dict[str, Any], **training: Any) -> Agent:
    """An agent whose account lets it hold what its policy wants."""
    usual = {"n_trials": 2, "n_steps": 40_960, "n_evaluations": 2}
    agent = make_agent(algorithm, bars=waves(), settings=settings, **usual | training)
    Limits.objects.create(account=agent.book.account)
    return agent


def live(agent: Agent, n_bars: int) -> list[datetime]:
    """Let the deployed version decide on the first bars of the unseen period. Returns: their times."""
    times = [datetime.fromtimestamp(int(second), UTC) for second in waves().time[UNSEEN : UNSEEN + n_bars]]
    stream = Stream.objects.create(name="replay", from_time=times[0], to_time=times[-1], bars_per_second=0)
    stream.instruments.add(agent.instrument)
    Subscription.objects.create(stream=stream, subscriber=agent.name, active=True)
    Agent.objects.filter(pk=agent.pk).update(stream=stream, desired_state="running")
    loop = BarLoop.load(Agent.objects.get(pk=agent.pk))
    for moment in times:
        publish(stream, moment)
        loop.on_bar(moment, stream, paused=False)
    return times


def check_live_is_what_the_report_says(agent: Agent, model: ModelVersion, n_bars: int = N_LIVE) -> None:
    """The unseen report's equity and fills, bar by bar, through orders, gate, broker and ledger."""
    agent.refresh_from_db()
    assert agent.deployed_version == model
    times = live(agent, n_bars)
    equity = [float(row.equity) for row in EquitySnapshot.objects.filter(book=agent.book_id).order_by("time")]
    report = model.backtests.get(period=Backtest.Period.UNSEEN)
    assert report.from_time == times[0]
    assert report.curve["time"][:n_bars] == [int(time.timestamp()) for time in times]
    np.testing.assert_allclose(equity, report.curve["equity"][:n_bars], rtol=0, atol=1e-2)
    assert Fill.objects.count() >= 4, "it has to trade, or nothing is proven"
    assert Decision.objects.count() == n_bars


def backtest_on_unseen(run: TrainingRun, model: ModelVersion, **changed_rules: Any) -> float:
    """Total return of a version on the unseen period under other rules."""
    policy, assignment = registry.load(model), assignment_of(run)
    data = assignment.data(len(assignment.folds) - 1, policy.spec)
    result = run_backtest(
        policy, data.market, data.bars.time, data.unseen.first, data.unseen.last,
        rules=replace(policy.rules, **changed_rules),
    )  # fmt: skip
    return float(result.metrics["total_return"])


def test_learned_on_made_up_paths_under_drawn_costs_it_trades_the_real_bars(trainings: Trainings) -> None:
    randomise = {"costs": 1.0, "paths": 4, "block": 3 * PERIOD}
    rules = {"half_spread_bps": 3.0, "stop_loss": 0.05, "trail_fraction": 0.06, "interest_rate": 0.03}
    agent = agent_on_waves("ppo", {"randomise": randomise, "rules": rules})
    run = make_run(agent, 1)
    # What is learned from: the real bars and four paths, on the copies of one rollout many different costs.
    lesson: Lesson = assignment_of(run).lesson({}, 0, 1)
    learner = make_learner(lesson)
    batch = learner.arena.batch  # type: ignore[attr-defined]
    learner.advance()
    assert len(batch.markets) == 5
    real, *made_up = batch.markets
    assert all(np.abs(np.log(path.close[1:] / path.close[:-1])).max() < 0.05 for path in made_up)
    assert len({path.close[-1] for path in (real, *made_up)}) == 5
    assert len(np.unique(batch.rules.reshape(batch.n_copies, -1), axis=0)) > batch.n_copies // 2
    learner.close()

    model = trainings.carry_out(run)
    returns = model.backtests.get(period=Backtest.Period.UNSEEN)
    assert returns.metrics["total_return"] > 0.5 > abs(returns.baseline_metrics["total_return"])
    # It has met half and twice the costs, and earns under both.
    cheap, dear = (backtest_on_unseen(run, model, half_spread_bps=spread) for spread in (1.5, 6.0))
    assert cheap > returns.metrics["total_return"] > dear > 0.25
    plain = agent.configuration.data | {"randomise": {}}
    agent.configurations.create(version=2, data=plain)
    other = trainings.carry_out(make_run(agent, 1))
    assert other.weights_sha256 != model.weights_sha256
    Agent.objects.filter(pk=agent.pk).update(deployed_version=model)
    check_live_is_what_the_report_says(agent, model)


def test_a_trained_transformer_says_for_a_decision_which_bars_it_looked_at(trainings: Trainings) -> None:
    network = {"kind": "ane", "hidden": [16], "window": 12, "options": {"size": 16, "heads": 2}}
    agent = agent_on_waves("ppo", {"network": network}, n_trials=1, n_steps=20_480)
    model = trainings.carry_out(make_run(agent, 1))
    check_live_is_what_the_report_says(agent, model, 30)
    policy = registry.load(model)
    rows = policy.normaliser.apply(policy.spec.compute(waves()))
    decision = Decision.objects.order_by("time")[20]
    own = np.array([decision.observation[name] for name in policy.own.names])
    seen = policy.observe_scaled(rows[UNSEEN + 20 - 11 : UNSEEN + 21], own)
    shares = attention_by_hand(load_file(registry.models_dir() / model.file), np.array(seen), len(policy.spec))
    told = decision.rationale["attention"]
    assert sum(shares) == pytest.approx(1.0)
    for entry in told:
        assert entry["share"] == pytest.approx(shares[11 - entry["bars_ago"]], abs=1e-4)
    assert told[0]["share"] == pytest.approx(max(shares), abs=1e-4)
    # What was learned is not what it began with, where every head looks nearly everywhere alike.
    untrained = make_learner(assignment_of(model.run).lesson(model.parameters, 0, 1)).policy()
    before = untrained.attention(seen)
    assert before is not None and np.abs(np.array(before["bars"]) - shares).max() > 0.01
    client = Client()
    client.force_login(factories.operator())
    page = client.get(reverse("decision", args=[agent.name, int(decision.time.timestamp())])).content.decode()
    assert "Which bars it looked at" in page
    ago = told[0]["bars_ago"]
    assert ("this bar" if ago == 0 else f"{ago} bar{'s' if ago > 1 else ''} ago") in page


def attention_by_hand(weights: dict[str, np.ndarray], observation: np.ndarray, n_features: int) -> list[float]:
    """The newest bar's mean attention over the heads of one block, written out in numpy from the file's tensors."""
    w = {name.removeprefix("encoder."): value.astype(float) for name, value in weights.items()}
    rows = observation[: 12 * n_features].reshape(12, n_features).astype(float)
    ages = np.arange(11, -1, -1.0)
    periods = 3.0 * 16.0 ** (np.arange(6) / 5)  # from 3 bars to four windows of 12
    angle = ages[:, None] * 2 * np.pi / periods
    known = np.concatenate([np.sin(angle), np.cos(angle), np.log1p(ages)[:, None]], axis=1)
    tokens = rows @ w["inputs.weight"].T + w["inputs.bias"] + known @ w["ages.mix.weight"].T + w["ages.mix.bias"]
    squares = rows[:, worlds.FEATURES.index("return_1")] ** 2
    level = 0.5 * np.log([squares[max(i - 3, 0) : i + 1].mean() + 0.01 for i in range(12)])
    surprise = level - np.cumsum(level) / np.arange(1, 13)
    centred = tokens - tokens.mean(axis=1, keepdims=True)
    normed = centred / np.sqrt(centred.var(axis=1, keepdims=True) + 1e-5)
    normed = normed * w["blocks.0.before_attention.weight"] + w["blocks.0.before_attention.bias"]
    both = normed @ w["blocks.0.attention.queries_keys.weight"].T + w["blocks.0.attention.queries_keys.bias"]
    queries, keys = both[:, :14].reshape(12, 2, 7), both[:, 14:].reshape(12, 2, 7)
    shares = np.zeros(12)
    for head in range(2):
        sharp = np.exp(w["blocks.0.attention.sharpness"][head] * np.tanh(surprise[-1]))
        logits = keys[:, head] @ queries[-1, head] * sharp / np.sqrt(8) + w["blocks.0.attention.favour"][head] * level
        shares += np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum() / 2
    return shares.tolist()


@pytest.mark.skipif(find_spec("sbx") is None, reason="JAX is an optional group: pip install '.[tpu]'")
@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_what_jax_has_learned_is_served_by_torch_and_trades(trainings: Trainings, algorithm: str) -> None:
    steps = {"ppo": 40_960, "sac": 2_048}[algorithm]
    size = {"n_trials": 1, "n_steps": steps, "n_evaluations": 1}
    agent = agent_on_waves(algorithm, {"rules": {"half_spread_bps": 2.0}}, **size)
    run = make_run(agent, 1)
    model = trainings.carry_out(run, backend="tpu")
    assert model.library_versions.get("jax")
    check_live_is_what_the_report_says(agent, model, 30)
    policy = registry.load(model)
    tensors = load_file(registry.models_dir() / model.file)
    rows = policy.normaliser.apply(policy.spec.compute(waves()))
    for number, decision in enumerate(Decision.objects.order_by("time")):
        own = np.array([decision.observation[name] for name in policy.own.names])
        seen = np.array(policy.observe_scaled(rows[UNSEEN + number : UNSEEN + number + 1], own), dtype=float)
        assert decision.action == pytest.approx(decided_by_hand(tensors, seen, algorithm), abs=1e-5)
    assert model.backtests.get(period=Backtest.Period.UNSEEN).metrics["total_return"] > 0.1


def decided_by_hand(tensors: dict[str, np.ndarray], seen: np.ndarray, algorithm: str) -> float:
    """The network's first choice, in numpy: two layers and the head; SAC's through tanh."""
    for layer in (0, 1):
        seen = tensors[f"body.{layer}.weight"] @ seen + tensors[f"body.{layer}.bias"]
        seen = np.tanh(seen) if algorithm == "ppo" else np.maximum(seen, 0.0)
    scores = tensors["head.weight"] @ seen + tensors["head.bias"]
    return float(np.tanh(scores[0])) if algorithm == "sac" else float(np.argmax(scores))
