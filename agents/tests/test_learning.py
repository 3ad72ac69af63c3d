import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from agents import learning
from agents.configuration import parse
from agents.features import CATALOGUE
from agents.learning import Progress, TrainingDiverged, TrainingStopped, Trial, score
from agents.own_state import ALL
from agents.policy import ServedPolicy
from agents.tests import worlds
from marketdata.series import BarSeries

PARAMETERS = {"learning_rate": 1e-3, "width": 16, "gamma": 0.9, "ent_coef": 0.05, "penalty": 1.0}
N_STEPS = {"ppo": 4096, "sac": 1500}


def _trial(algorithm, seed=1, **kwargs):
    settings = worlds.settings(algorithm, n_steps=N_STEPS[algorithm])
    return Trial(worlds.dataset(settings), settings, PARAMETERS, seed, **kwargs)


def hashes() -> dict[str, str]:
    """Weights of one short training per algorithm."""
    return {algorithm: _trial(algorithm).run().policy.weights_sha256() for algorithm in N_STEPS}


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
@pytest.mark.parametrize("normaliser", ["zscore", "online"])
def test_it_learns_from_the_whole_catalogue_and_every_own_value(algorithm, normaliser):
    chosen = {"features": list(CATALOGUE), "own_state": list(ALL), "normaliser": normaliser}
    periods = {"validation": worlds.day_of(1_000).isoformat(), "unseen": worlds.day_of(1_100).isoformat()}
    n_steps = 4_096 if algorithm == "ppo" else 1_200
    data = worlds.configuration(algorithm, periods=periods, n_steps=n_steps, n_evaluations=1) | chosen
    settings = parse(algorithm, data)
    result = Trial(worlds.dataset(settings, worlds.walk(1_200)), settings, PARAMETERS, 1).run()
    policy = ServedPolicy.from_bytes(result.policy.to_bytes())
    n_inputs = len(CATALOGUE) + len(ALL)
    assert policy.weights()["body.0.weight"].shape == (16, n_inputs)
    assert policy.own.names == ALL
    assert np.isfinite(result.validation.track.equity).all()


def test_the_same_seed_gives_the_same_weights_also_in_another_process():
    here = hashes()
    code = "import json; from agents.tests.test_learning import hashes; print(json.dumps(hashes()))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )  # fmt: skip
    assert json.loads(done.stdout.splitlines()[-1]) == here
    assert _trial("ppo", seed=2).run().policy.weights_sha256() != here["ppo"]


def test_it_learns_a_series_whose_best_policy_is_known():
    """Four days up, four days down, opening where it closed: the last days' returns tell what comes."""
    bars, rate = worlds.walk(), np.where(np.arange(700) % 8 < 4, 0.02, -0.02)
    close = 100 * np.exp(np.cumsum(rate))
    open_ = np.concatenate([[100.0], close[:-1]])
    series = BarSeries(bars.time, open_, np.maximum(open_, close), np.minimum(open_, close), close, bars.volume)
    settings = worlds.settings("ppo", n_steps=40_960, n_evaluations=4)
    result = Trial(worlds.dataset(settings, series), settings, PARAMETERS | {"learning_rate": 3e-3}, 1).run()
    assert result.validation.metrics["total_return"] > 1.0
    assert abs(result.validation.baseline_metrics["total_return"]) < 0.2  # holding makes about nothing


def test_the_best_evaluation_is_kept_and_progress_is_told():
    told: list[Progress] = []
    judged: list[tuple[int, float]] = []

    def judge(number: int, value: float) -> bool:
        judged.append((number, value))
        return False

    trial = _trial("ppo", report=told.append, judge=judge)
    result = trial.run()
    assert [number for number, _ in judged] == [0, 1]
    assert result.score == max(result.evaluations) == max(value for _, value in judged)
    assert told[-1].steps_done == told[-1].steps_total == 4096


def test_a_judge_can_end_it_early():
    trial = _trial("ppo", judge=lambda number, value: True)
    assert len(trial.run().evaluations) == 1
    assert trial.pruned


def test_a_stop_is_obeyed():
    with pytest.raises(TrainingStopped):
        _trial("sac", should_stop=lambda: True).run()


def test_weights_that_become_nan_end_the_trial_with_words():
    trial = _trial("ppo")
    model = learning.make_learner(trial.dataset, trial.settings, PARAMETERS, 1)
    policy: Any = model.policy
    with torch.no_grad():
        policy.action_net.bias[0] = float("nan")
    with pytest.raises(TrainingDiverged, match=r"head\.bias became NaN"):
        trial.evaluate(model)


def test_never_trading_scores_worse_than_losing_a_little_and_few_trades_cost():
    settings = worlds.settings()
    data = worlds.dataset(settings)
    idle, busy = worlds.policy(rules=settings.rules), worlds.policy(seed=5, gain=3.0, rules=settings.rules)
    idle.head.weight.zero_()
    idle.head.bias.zero_()
    run = [
        learning.run_backtest(policy, data.market, data.bars.time, data.validation.first, data.validation.last)
        for policy in (idle, busy)
    ]
    assert score(run[0], 6) == -1.0
    sharpe, turns = run[1].metrics["sharpe_ratio"], run[1].metrics["n_turns"]
    assert score(run[1], 0) == sharpe
    # Half the turns that are asked for: half a point less.
    assert score(run[1], 2 * turns) == pytest.approx(sharpe - 0.5)
