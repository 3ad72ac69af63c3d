import random
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState, create_trial

from agents.studies.study import Drawn, StudyPlan, knee, middle, part_score, population, seed_for

SPACE = {
    "x": {"low": 1e-3, "high": 1.0, "log": True},
    "c": {"choices": ["a", "b"]},
    "n": {"low": 1, "high": 9, "whole": True},
}


def plan(**values):
    return StudyPlan(**{"seed": 3, "n_trials": 32, "n_resources": 9, "space": SPACE} | values)


def outcome(drawn):
    """The trial's course is a function of its parameters alone."""
    value = -abs(np.log(drawn.parameters["x"] / 0.1)) - (drawn.parameters["c"] == "a")
    if drawn.plan.sampler == "nsga2":
        return drawn.ended(TrialState.COMPLETE, [value, drawn.parameters["x"], drawn.parameters["n"]], {})
    for step in range(1, 10):
        if drawn.report(step, value * (1 + 1 / step)):
            return drawn.ended(TrialState.PRUNED, None, {})
    return drawn.ended(TrialState.COMPLETE, [value], {})


def carried_out(of, n_workers, shuffle):
    """A whole study whose trials end in any order, as many at once as there are workers and the lag allows."""
    done, under_way, following = dict[int, Any](), list[Drawn](), 0
    while len(done) < of.n_trials:
        settled = [done[number] for number in range(len(done)) if number in done][: _prefix(done)]
        while len(under_way) < n_workers and following < of.n_trials and _prefix(done) >= of.n_settled(following):
            under_way.append(Drawn(of, following, settled))
            following += 1
        ended = under_way.pop(shuffle.randrange(len(under_way)))
        done[ended.number] = outcome(ended)
    return [done[number] for number in range(of.n_trials)]


def _prefix(done):
    return next(number for number in range(len(done) + 1) if number not in done)


@pytest.mark.parametrize(("sampler", "pruner"), [("tpe", "hyperband"), ("tpe", "median"), ("nsga2", "none")])
def test_a_study_is_the_same_whatever_the_number_of_workers_and_their_order(sampler, pruner):
    of = plan(sampler=sampler, pruner=pruner)
    alone = carried_out(of, 1, random.Random(0))
    for n_workers, order in ((2, 1), (4, 2), (4, 3)):
        together = carried_out(of, n_workers, random.Random(order))
        assert [trial.params for trial in together] == [trial.params for trial in alone]
        assert [trial.state for trial in together] == [trial.state for trial in alone]
        assert [trial.intermediate_values for trial in together] == [trial.intermediate_values for trial in alone]


def test_another_seed_is_another_study_and_later_trials_have_learned():
    one, other = (carried_out(plan(seed=seed, n_trials=48), 1, random.Random(0)) for seed in (3, 4))
    assert [trial.params for trial in one] != [trial.params for trial in other]
    early, late = (np.mean([abs(np.log(trial.params["x"] / 0.1)) for trial in part]) for part in (one[:12], one[-12:]))
    assert late < early


def test_hyperband_ends_some_trials_early_and_never_the_best():
    trials = carried_out(plan(seed=1), 1, random.Random(0))
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED]
    assert 3 <= len(pruned) <= 28
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert max(trial.value for trial in complete) > max(max(trial.intermediate_values.values()) for trial in pruned)


def test_a_trial_draws_and_ends_the_same_when_it_is_asked_again():
    of, settled = plan(), carried_out(plan(), 1, random.Random(0))
    for number in (0, 5, 20, 31):
        first, again = (Drawn(of, number, settled) for _ in range(2))
        assert first.parameters == again.parameters == settled[number].params
        answers = [first.report(step, -1.0 / step) for step in range(1, 10)]
        repeated = [again.report(step, -1.0 / step) for step in range(1, 10)]
        assert answers == repeated
        assert again.report(3, -7.0) is False  # a step that was reported before is not judged again


def test_a_trial_waits_for_all_trials_it_may_look_at():
    # 32 trials: a quarter is 8, so trial 8 is the first to look at one, trial 10 at the first three.
    assert [plan().n_settled(number) for number in (0, 7, 8, 10)] == [0, 0, 1, 3]
    assert [plan(n_trials=n).lag for n in (1, 4, 12, 32, 64, 200)] == [2, 2, 3, 8, 16, 16]
    with pytest.raises(ValueError, match="trial 10 needs 3 ended trials, got 2"):
        Drawn(plan(), 10, carried_out(plan(n_trials=4), 1, random.Random(0))[:2])


def test_most_trials_of_the_usual_study_are_drawn_from_what_came_before():
    usual = carried_out(plan(n_trials=12), 1, random.Random(0))
    better = [Drawn(plan(n_trials=12), number, usual).parameters for number in range(12)]
    # The same study with every result turned round: what differs was drawn from results.
    worse = [_turned(trial) for trial in usual]
    other = [Drawn(plan(n_trials=12), number, worse).parameters for number in range(12)]
    informed = [number for number in range(12) if better[number] != other[number]]
    # Blind: the three at random and those that see fewer than three. Equal draws happen, so not all others differ.
    assert 3 <= min(informed) <= 5 and len(informed) >= 4
    assert sum(trial.state == TrialState.PRUNED for trial in usual) >= 2


def _turned(trial):
    values = None if trial.value is None or trial.state != TrialState.COMPLETE else [-trial.value]
    return create_trial(
        state=trial.state, values=values, params=trial.params, distributions=trial.distributions,
        intermediate_values={step: -value for step, value in trial.intermediate_values.items()},
        system_attrs=trial.system_attrs,
    )  # fmt: skip


def test_a_small_genetic_study_has_a_second_generation():
    # A quarter of the trials, at most 50; in small studies up to four, at most half of them, never fewer than two.
    assert [population(n) for n in (1, 4, 6, 8, 12, 40, 400)] == [2, 2, 3, 4, 4, 10, 50]
    for n_trials in (6, 12):
        trials = carried_out(plan(n_trials=n_trials, sampler="nsga2", pruner="none"), 1, random.Random(0))
        generations = [trial.system_attrs.get("NSGAIISampler:generation", 0) for trial in trials]
        assert max(generations) >= 1, generations


def test_seeds_differ_by_every_part_of_their_path_and_fit_a_column():
    seeds = {seed_for(*path) for path in [(1,), (2,), (1, 0), (1, 1), (0, 1), (1, 0, 0), (2**31 - 1, 5)]}
    assert len(seeds) == 7
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_the_knee_is_the_front_s_point_nearest_to_the_best_of_every_aim():
    # Sharpe, drawdown, turnover. The second beats the fifth in everything. On the front the aims run from 0 to 2,
    # 0.1 to 0.5, and 10 to 50; distances from their best: 1: (0, 1, 1) sqrt 2; 2: (0.25, 0.25, 0.25) 0.43;
    # 3: (1, 0, 0) 1; 4: (0.5, 0, 0.5) 0.71.
    aims = [(2.0, 0.5, 50.0), (1.5, 0.2, 20.0), (0.0, 0.1, 10.0), (1.0, 0.1, 30.0), (1.4, 0.3, 25.0)]
    assert knee(aims) == 1
    assert knee([(1.0, 0.2, 5.0), (1.0, 0.2, 5.0)]) == 0
    with pytest.raises(ValueError, match="nothing to choose"):
        knee([])


def test_the_middle_of_several_scores_is_taken_of_two_the_lower():
    assert middle([0.3, 2.0, 1.0]) == 2
    assert middle([5.0, 1.0]) == 1
    assert middle([1.0, 4.0, 2.0, 3.0]) == 2
    assert middle([1.0, 1.0, 1.0]) == 1


def test_a_learning_is_worth_the_median_of_its_later_evaluations():
    # Later half of five: the last three, 0.4, 3.0, 0.2; their median is 0.4, not the lucky 3.0.
    assert part_score([9.0, -1.0, 0.4, 3.0, 0.2]) == pytest.approx(0.4)
    assert part_score([0.7]) == pytest.approx(0.7)
    assert np.isnan(part_score([]))
