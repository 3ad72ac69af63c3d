"""Whole learnings of two instruments in one account, from their bars to a served policy and its backtest."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import algorithms
from agents.environment.own_state import ALL, OwnSpec
from agents.environment.randomise import RandomiseSettings
from agents.environment.rewards import COMPONENT_NAMES
from agents.learners import checkpoint as checkpoints
from agents.networks.spec import NetworkSpec
from agents.policies.backtest import run_backtest
from agents.policies.normalisers import NormaliserChoice
from agents.policies.policy import ServedPolicy
from agents.runs import learning
from agents.runs.learning import Lesson, LessonResult, TrainingDiverged, TrainingPaused, learn, make_learner
from agents.studies.folds import default_purge, walk_forward
from agents.tests import pairs, worlds
from agents.tests.desk import make_agent
from core.simulation.rules import MarketRules

BOTH = ("ppo", "sac")
SHORT = {"ppo": 6_144, "sac": 3_072}
ABLE = [name for name in algorithms.names() if algorithms.get(name).several]


@pytest.fixture(autouse=True)
def only_between_rounds(monkeypatch):
    """Wishes told one by one are asked for between rounds alone, however long a round takes here."""
    monkeypatch.setattr(learning, "SECONDS_OF_A_ROUND", 1e9)


def short(algorithm: str, **changes: Any) -> Lesson:
    return pairs.lesson(algorithm, n_steps=SHORT[algorithm], **changes)


def with_settings(lesson: Lesson, **changes: Any) -> Lesson:
    """The same lesson, its data made anew."""
    settings = replace(lesson.settings, **changes)
    return replace(lesson, settings=settings, dataset=pairs.pair(settings))


@pytest.mark.parametrize("algorithm", BOTH)
def test_a_learning_ends_with_a_policy_that_serves_both(algorithm: str) -> None:
    result = learn(short(algorithm))
    assert len(result.evaluations) == 2 and np.isfinite(result.evaluations).all()
    policy = ServedPolicy.from_bytes(result.policy.to_bytes())
    assert policy.every_rules == (worlds.settings(algorithm).rules, pairs.OTHER_RULES)
    # Six features and four own values of each; one output for each choice, or one, of each.
    first_layer = policy.weights()["body.0.weight"]
    assert first_layer.shape[1] == policy.n_inputs == 2 * (len(worlds.FEATURES) + len(policy.own))
    assert len(policy.weights()["head.bias"]) == (6 if algorithm == "ppo" else 2)
    track = result.validation.track
    assert track.quantity.shape == track.actions.shape == (149, 2)
    assert set(track.reward_components) == {*COMPONENT_NAMES, "reward"}
    assert np.isfinite(track.equity).all()
    # What it is judged by is what anybody else finds with the stored policy.
    data = pairs.pair(worlds.settings(algorithm))
    again = run_backtest(
        policy, data.market, data.time, data.validation.first, data.validation.last,
        reward=worlds.settings(algorithm).reward,
    )  # fmt: skip
    np.testing.assert_array_equal(again.track.equity, track.equity)


@pytest.mark.parametrize("algorithm", BOTH)
def test_paused_and_gone_on_it_ends_with_the_same_weights(algorithm, tmp_path) -> None:
    whole = learn(short(algorithm))
    path, starts = tmp_path / "one.checkpoint", list[int]()
    for n_rounds in (1, 1):
        asked = iter(["go"] * n_rounds + ["pause"])
        with pytest.raises(TrainingPaused):
            learn(short(algorithm), wish=lambda: next(asked), checkpoint=path)  # noqa: B023
    result = learn(short(algorithm), checkpoint=path, on_progress=lambda said: starts.append(said.steps_done))
    assert starts[0] > 0
    assert result.weights_sha256 == whole.weights_sha256
    assert result.evaluations == whole.evaluations
    assert result.policy.to_bytes() == whole.policy.to_bytes()
    np.testing.assert_array_equal(result.validation.track.equity, whole.validation.track.equity)


def test_a_checkpoint_of_other_rules_is_not_gone_on_from(tmp_path) -> None:
    path, told = tmp_path / "one.checkpoint", list[str]()
    asked = iter(["go", "pause"])
    with pytest.raises(TrainingPaused):
        learn(short("ppo"), wish=lambda: next(asked), checkpoint=path)
    other = short("ppo", other_rules=(MarketRules(),))
    learn(other, checkpoint=path, on_progress=lambda said: told.append(said.note))
    assert "another lesson" in told[0]
    assert other.fingerprint() != short("ppo").fingerprint()


def test_a_fingerprint_names_other_rules_only_where_there_are_some(monkeypatch) -> None:
    seen = list[dict[str, Any]]()
    monkeypatch.setattr("agents.runs.lesson.fingerprint", lambda parts: seen.append(parts) or "")
    for lesson in (short("ppo"), short("ppo", other_rules=())):
        lesson.fingerprint()
    assert "other_rules" in seen[0] and "other_rules" not in seen[1]
    assert {name: value for name, value in seen[0].items() if name != "other_rules"} == seen[1]
    assert checkpoints.fingerprint(seen[0]) != checkpoints.fingerprint(seen[1])


def test_rules_for_another_number_of_instruments_are_refused_and_one_set_may_hold_for_all() -> None:
    with pytest.raises(ValueError, match="3 rules for 2 instruments"):
        learn(short("ppo", other_rules=(MarketRules(), MarketRules())))
    settings = worlds.settings()
    data = worlds.dataset(settings)
    alone = pairs.lesson(dataset=data, training=data.training, validation=data.validation)
    with pytest.raises(ValueError, match="2 rules for 1 instruments"):
        learn(alone)
    assert short("ppo", other_rules=()).every_rules == (settings.rules, settings.rules)


def test_each_instrument_pays_its_own_costs() -> None:
    """The second costs 5 bp of spread and 3 bp of commission, the first 2 bp and a broker's schedule."""
    dear = MarketRules(half_spread_bps=100.0, schedule="none", tick_size=0.0)
    learner = make_learner(short("ppo", other_rules=(dear,)))
    np.testing.assert_array_equal(learner.arena.batch.rules[0, 1], dear.as_array())  # type: ignore[attr-defined]
    np.testing.assert_array_equal(
        learner.arena.batch.rules[0, 0],
        worlds.settings().rules.as_array(),  # type: ignore[attr-defined]
    )
    learner.close()


@pytest.mark.parametrize("algorithm", [name for name in ABLE if name not in BOTH])
def test_every_algorithm_that_says_so_learns_and_is_served(algorithm: str) -> None:
    kind = algorithms.get(algorithm).networks[0]
    network = NetworkSpec(kind, (8,), options={"size": 4} if kind == "recurrent" else {})
    base = pairs.lesson("sac" if algorithm == "td3" else "ppo", n_steps=1_024)
    parameters = {"n_copies": 8, "n_epochs": 1} if algorithms.get(algorithm).on_policy else {}
    if algorithm == "a2c":
        parameters = {}
    lesson = replace(base, settings=replace(base.settings, algorithm=algorithm, network=network), parameters=parameters)
    check(learn(lesson), lesson)


def check(result: LessonResult, lesson: Lesson) -> None:
    """A policy of two that can be stored, and a track of both."""
    policy = ServedPolicy.from_bytes(result.policy.to_bytes())
    assert policy.n_instruments == 2
    assert policy.weights_sha256() == result.policy.weights_sha256()
    assert result.validation.track.quantity.shape == (len(lesson.validation), 2)
    assert np.isfinite(result.validation.track.equity).all()


@pytest.mark.parametrize("kind", ["lstm", "tcn", "ane"])
def test_a_window_of_both_is_learned_from(kind: str) -> None:
    network = NetworkSpec(kind, (8,), window=4, options={"channels": 8} if kind == "tcn" else {"size": 8})
    lesson = with_settings(pairs.lesson("ppo", n_steps=2_048), network=network, actions="steps")
    check(learn(lesson), lesson)


@pytest.mark.parametrize("kind", ["robust", "online"])
def test_every_own_value_drawn_costs_and_made_up_paths_are_learned_from(kind: str) -> None:
    plain = with_settings(pairs.lesson("ppo", n_steps=2_048), normaliser=NormaliserChoice(kind), own_state=OwnSpec(ALL))
    drawn = with_settings(plain, randomise=RandomiseSettings(costs=0.5, paths=2))
    results = [learn(plain), learn(drawn)]
    for result, lesson in zip(results, (plain, drawn), strict=True):
        check(result, lesson)
    assert results[0].weights_sha256 != results[1].weights_sha256


def test_one_that_trades_one_instrument_says_so() -> None:
    base = pairs.lesson("ppo", n_steps=1_024)
    with pytest.raises(ValueError, match="DQN trades one instrument at a time; for several choose one of A2C"):
        learn(replace(base, settings=replace(base.settings, algorithm="dqn"), parameters={}))


def test_a_walk_over_folds_learns_each_from_its_own_rows() -> None:
    base = pairs.lesson("ppo", n_steps=2_048)
    data = base.dataset
    folds = walk_forward(data.training, data.validation, 2, default_purge(data.spec.warm_up))
    # 365 training rows, 149 of validation: blocks of min(149, 365 // 3) = 121; 33 left out between.
    assert [(fold.training.last, fold.validation.first, fold.validation.last) for fold in folds] == [
        (243, 277, 397), (364, 398, 546),
    ]  # fmt: skip
    seen = Counter[str]()
    for fold in folds:
        cut = data.refit(fold.training, fold.validation)
        rows = cut.raw[fold.training.first : fold.training.last + 1]
        np.testing.assert_allclose(cut.normaliser.scale().centre, rows.mean(axis=0), atol=1e-12)
        result = learn(replace(base, dataset=cut, training=fold.training, validation=fold.validation))
        check(result, replace(base, validation=fold.validation))
        assert result.validation.time[0] == data.time[fold.validation.first]
        seen[result.weights_sha256] += 1
    assert len(seen) == 2


def test_an_input_that_becomes_nan_is_named_with_its_instrument() -> None:
    learner = make_learner(pairs.lesson("ppo"))
    learner.model._last_obs[0, 8] = np.nan  # type: ignore[attr-defined]
    with pytest.raises(TrainingDiverged, match=rf"observation {worlds.FEATURES[2]} of instrument 2 became NaN"):
        learner.advance()
    learner.close()


@pytest.mark.slow
@pytest.mark.django_db
def test_what_the_documentation_shows_works(settings: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings.LOCAL_DIR = tmp_path
    make_agent(name="aapl-swing", n_steps=2_048)
    make_agent(name="ndx3x-trend", bars=pairs.without(worlds.walk(seed=7), (100,)), settings={"rules": {}})
    text = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    shown = text.partition("## Several instruments")[2].partition("```python")[2].partition("```")[0]
    found: dict[str, Any] = {}
    exec(shown, found)
    assert len(found["results"]) == 3
    assert found["policy"].every_rules == (worlds.settings().rules, MarketRules())
    assert found["unseen"].track.quantity.shape == (150, 2)
    told = [float(word) for word in capsys.readouterr().out.split()]
    assert told == [one["sharpe_ratio"] for one in (found["unseen"].metrics, found["unseen"].baseline_metrics)]
