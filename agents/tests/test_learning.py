import hashlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.configuration import parse
from agents.environment.own_state import ALL
from agents.environment.randomise import RandomiseSettings
from agents.learners.fast_ppo import FastPPO
from agents.learners.on_policy import OnPolicyLearner
from agents.networks.spec import NetworkSpec
from agents.policies.features import CATALOGUE
from agents.policies.policy import ServedPolicy
from agents.runs import learning
from agents.runs.backends import BackendMissing
from agents.runs.learning import Lesson, Progress, TrainingDiverged, TrainingPaused, TrainingStopped, learn, score
from agents.tests import worlds
from marketdata.series import BarSeries

ON_POLICY = ("ppo", "a2c", "masked_ppo", "recurrent_ppo")
N_STEPS = 6_144
PARAMETERS = {"learning_rate": 1e-3, "batch_size": 256}
SLOW = {name: {"n_copies": 8, "n_epochs": 1} for name in ("masked_ppo", "recurrent_ppo")}  # made to take less time
ACCUMULATOR = "tensorboard.backend.event_processing.event_accumulator"


@pytest.fixture(autouse=True)
def only_between_rounds(monkeypatch):
    """Wishes told one by one are asked for between rounds alone, however long a round takes here."""
    monkeypatch.setattr(learning, "SECONDS_OF_A_ROUND", 1e9)


def lesson(
    algorithm: str = "ppo", seed: int = 1, *, n_steps: int = N_STEPS, bars: Any = None, **changes: Any
) -> Lesson:
    """A short lesson on `worlds.walk`; changes: of its settings."""
    network = NetworkSpec("recurrent", (16,), options={"size": 8}) if algorithm == "recurrent_ppo" else None
    changes |= {"network": network} if network else {}
    changes = {"network": NetworkSpec(hidden=(16, 16))} | changes
    settings = replace(worlds.settings(algorithm, n_steps=n_steps), **changes)
    data = worlds.dataset(settings, bars)
    return Lesson(
        dataset=data, settings=settings, parameters=PARAMETERS | SLOW.get(algorithm, {}), seed=seed,
        training=data.training, validation=data.validation, n_steps=n_steps,
    )  # fmt: skip


def hashes() -> dict[str, str]:
    """Final weights of one short learning per algorithm."""
    return {algorithm: learn(lesson(algorithm)).weights_sha256 for algorithm in ON_POLICY}


@pytest.mark.parametrize("normaliser", ["zscore", "online"])
def test_it_learns_from_the_whole_catalogue_and_every_own_value(normaliser):
    chosen = {"features": list(CATALOGUE), "own_state": list(ALL), "normaliser": normaliser}
    periods = {"validation": worlds.day_of(1_000).isoformat(), "unseen": worlds.day_of(1_100).isoformat()}
    settings = parse("ppo", worlds.configuration("ppo", periods=periods, n_steps=4_096, n_evaluations=1) | chosen)
    data = worlds.dataset(settings, worlds.walk(1_200))
    result = learn(
        Lesson(
            dataset=data, settings=settings, parameters={}, seed=1, training=data.training,
            validation=data.validation, n_steps=4_096,
        )
    )  # fmt: skip
    policy = ServedPolicy.from_bytes(result.policy.to_bytes())
    assert policy.weights()["body.0.weight"].shape[1] == len(CATALOGUE) + len(ALL)
    assert policy.own.names == ALL
    assert np.isfinite(result.validation.track.equity).all()


def test_the_same_seed_gives_the_same_weights_also_in_another_process():
    here = hashes()
    code = "import json; from agents.tests.test_learning import hashes; print(json.dumps(hashes()))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=180,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )  # fmt: skip
    assert json.loads(done.stdout.splitlines()[-1]) == here
    assert learn(lesson("ppo", seed=2)).weights_sha256 != here["ppo"]


def test_it_learns_a_series_whose_best_policy_is_known():
    """Four days up, four days down, opening where it closed: the last days' returns tell what comes."""
    result = learn(replace(lesson(n_steps=40_960, bars=_waves()), parameters={"learning_rate": 3e-3}))
    assert result.validation.metrics["total_return"] > 1.0
    assert abs(result.validation.baseline_metrics["total_return"]) < 0.2  # holding makes about nothing


def _waves() -> BarSeries:
    bars, rate = worlds.walk(), np.where(np.arange(700) % 8 < 4, 0.02, -0.02)
    close = 100 * np.exp(np.cumsum(rate))
    open_ = np.concatenate([[100.0], close[:-1]])
    return BarSeries(bars.time, open_, np.maximum(open_, close), np.minimum(open_, close), close, bars.volume)


@pytest.mark.parametrize("kind", ["lstm", "tcn", "ane"])
@pytest.mark.parametrize("actions", ["steps", "target"])
def test_every_network_and_kind_of_action_learns_and_is_served(kind, actions):
    network = NetworkSpec(kind, (8,), window=4, options={"channels": 8} if kind == "tcn" else {"size": 8})
    result = learn(lesson(n_steps=2_048, network=network, actions=actions))
    assert result.policy.head.kind == ("logits" if actions == "steps" else "gaussian_clipped")
    assert np.isfinite(result.validation.track.equity).all()


def test_synthetic_paths_and_drawn_costs_are_learned_from():
    plain = learn(lesson(n_steps=2_048))
    drawn = learn(lesson(n_steps=2_048, randomise=RandomiseSettings(costs=0.5, paths=2)))
    assert plain.weights_sha256 != drawn.weights_sha256


def test_the_best_evaluation_is_kept_and_progress_is_told(monkeypatch):
    monkeypatch.setattr(learning, "SECONDS_BETWEEN_REPORTS", 0.0)
    told: list[Progress] = []
    judged: list[tuple[int, float]] = []

    def judge(number: int, value: float) -> bool:
        judged.append((number, value))
        return False

    result = learn(lesson(), on_progress=told.append, judge=judge)
    assert [number for number, _ in judged] == [0, 1]
    assert result.score == max(result.evaluations) == max(value for _, value in judged)
    assert (told[0].steps_done, told[-1].steps_done, told[-1].steps_total) == (0, N_STEPS, N_STEPS)
    last = told[-1]
    assert {"policy_gradient_loss", "value_loss"} <= set(last.losses)
    assert last.actions.keys() == {"hold", "buy", "sell"}
    assert sum(last.actions.values()) == pytest.approx(1.0)
    assert last.reward_components["cost"] < 0
    assert any(said.episode_return is not None for said in told)  # episodes take longer than a rollout
    assert last.steps_per_second > 0


def test_a_judge_can_end_it_early():
    result = learn(lesson(), judge=lambda number, value: True)
    assert (len(result.evaluations), result.pruned) == (1, True)


def test_a_stop_is_obeyed():
    with pytest.raises(TrainingStopped):
        learn(lesson(), wish=lambda: "stop")


@pytest.mark.parametrize("algorithm", ON_POLICY)
def test_paused_and_gone_on_it_ends_with_the_same_weights(algorithm, tmp_path):
    whole = learn(lesson(algorithm))
    path, starts = tmp_path / "one.checkpoint", []
    asked = iter(["go", "pause"])
    with pytest.raises(TrainingPaused):
        learn(lesson(algorithm), wish=lambda: next(asked), checkpoint=path)
    again = iter(["go"] * (4 if algorithm == "a2c" else 1) + ["pause"])
    with pytest.raises(TrainingPaused):
        learn(lesson(algorithm), wish=lambda: next(again, "go"), checkpoint=path)
    result = learn(lesson(algorithm), checkpoint=path, on_progress=lambda progress: starts.append(progress.steps_done))
    assert starts[0] > 0
    assert result.weights_sha256 == whole.weights_sha256
    assert result.evaluations == whole.evaluations
    assert result.policy.weights_sha256() == whole.policy.weights_sha256()
    np.testing.assert_array_equal(result.validation.track.equity, whole.validation.track.equity)
    # Finished, it is not learned again.
    assert learn(lesson(algorithm), checkpoint=path).weights_sha256 == whole.weights_sha256


KILLED = """
import sys
from pathlib import Path
from agents.runs import learning
from agents.tests.test_learning import lesson
learning.SECONDS_BETWEEN_CHECKPOINTS = 0.0
learning.MOST_TIME_FOR_CHECKPOINTS = 1e9
learning.learn(lesson(n_steps=100_000), checkpoint=Path(sys.argv[1]))
"""


def test_killed_without_warning_it_ends_with_the_same_weights(tmp_path):
    path = tmp_path / "killed.checkpoint"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)])
    try:
        _wait_for_changes(path, 3)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    starts: list[int] = []
    result = learn(lesson(n_steps=100_000), checkpoint=path, on_progress=lambda said: starts.append(said.steps_done))
    assert 0 < starts[0] < 100_000
    assert result.weights_sha256 == learn(lesson(n_steps=100_000)).weights_sha256


def _wait_for_changes(path: Path, n: int) -> None:
    seen, until = set[str](), time.monotonic() + 60
    while len(seen) < n and time.monotonic() < until:
        if path.exists():
            seen.add(hashlib.sha256(path.read_bytes()).hexdigest())
        time.sleep(0.02)
    assert len(seen) >= n, "no checkpoints were written"


@pytest.mark.parametrize("broken", ["damaged", "foreign"])
def test_a_checkpoint_that_does_not_fit_is_said_and_it_starts_anew(tmp_path, broken):
    path, told = tmp_path / "one.checkpoint", list[Progress]()
    asked = iter(["go", "pause"])
    with pytest.raises(TrainingPaused):
        learn(lesson(seed=2 if broken == "foreign" else 1), wish=lambda: next(asked), checkpoint=path)
    if broken == "damaged":
        path.write_bytes(path.read_bytes()[:-1])
    result = learn(lesson(), checkpoint=path, on_progress=told.append)
    assert (told[0].steps_done, told[1].note) == (0, "")
    assert ("is damaged" if broken == "damaged" else "another lesson") in told[0].note
    assert result.weights_sha256 == learn(lesson()).weights_sha256


def test_weights_that_become_nan_end_it_with_words_and_keep_the_last_good_checkpoint(tmp_path, monkeypatch):
    path, rounds = tmp_path / "one.checkpoint", []
    monkeypatch.setattr(learning, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(learning, "MOST_TIME_FOR_CHECKPOINTS", 1e9)
    honest = FastPPO.train

    def poisoned(model: Any) -> None:
        honest(model)
        rounds.append(model.num_timesteps)
        if len(rounds) == 2:
            with torch.no_grad():
                model.policy.action_net.bias[0] = float("nan")

    with monkeypatch.context() as patch:
        patch.setattr(FastPPO, "train", poisoned)
        with pytest.raises(TrainingDiverged, match=r"weight action_net\.bias became NaN or infinite after 4096 steps"):
            learn(lesson(), checkpoint=path)
    starts: list[int] = []
    learn(lesson(), checkpoint=path, on_progress=lambda said: starts.append(said.steps_done))
    assert starts[0] == 2_048


@pytest.mark.parametrize("algorithm", ["ppo", "a2c"])
def test_an_input_that_becomes_nan_is_named(algorithm):
    learner = learning.make_learner(lesson(algorithm))
    assert isinstance(learner, OnPolicyLearner)
    learner.model._last_obs[0, 2] = np.nan
    with pytest.raises(TrainingDiverged, match=f"observation {worlds.FEATURES[2]} became NaN"):
        learner.advance()


def test_a_missing_backend_is_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendMissing, match="no NVIDIA GPU"):
        learn(replace(lesson(), backend="cuda"))


def test_tensorboard_goes_on_where_the_checkpoint_stands(tmp_path, monkeypatch):
    folder, path = tmp_path / "logs", tmp_path / "one.checkpoint"
    asked = iter(["go", "go", "pause"])
    with pytest.raises(TrainingPaused):
        learn(lesson(), wish=lambda: next(asked), checkpoint=path, logs=folder)
    learn(lesson(), checkpoint=path, logs=folder)
    events = importlib.import_module(ACCUMULATOR).EventAccumulator(str(folder))
    events.Reload()
    names = events.Tags()["scalars"]
    assert {"loss/value_loss", "reward/cost", "action/buy", "score"} <= set(names)
    assert [event.step for event in events.Scalars("loss/value_loss")] == [2_048, 4_096, 6_144]


def test_never_trading_scores_worse_than_losing_a_little_and_few_trades_cost():
    settings = worlds.settings()
    data = worlds.dataset(settings)
    idle, busy = worlds.policy(rules=settings.rules), worlds.policy(seed=5, gain=3.0, rules=settings.rules)
    with torch.no_grad():
        for tensor in (idle.layers.head.weight, idle.layers.head.bias):
            tensor.zero_()
    run = [
        learning.run_backtest(policy, data.market, data.bars.time, data.validation.first, data.validation.last)
        for policy in (idle, busy)
    ]
    assert score(run[0], 6) == -1.0
    sharpe, turns = run[1].metrics["sharpe_ratio"], run[1].metrics["n_turns"]
    assert score(run[1], 0) == sharpe
    # Half the turns that are asked for: half a point less.
    assert score(run[1], 2 * turns) == pytest.approx(sharpe - 0.5)
