import pytest

from agents.learners.parameters import minibatch, number, whole
from agents.runs.learning import learn
from agents.tests.test_rounds import lesson


def test_what_a_range_drew_between_whole_numbers_is_cut_and_what_is_absent_is_usual():
    assert (whole({"n": 3.7}, "n", 2), whole({}, "n", 2)) == (3, 2)
    assert (number({"tau": 0}, "tau", 0.5), number({}, "tau", 0.5)) == (0.0, 0.5)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("ppo", {"batch_size": 1}, "batch_size: got 1, expected a whole number of at least 2"),
        ("a2c", {"batch_size": 3}, "batch_size: got 3, expected a whole number of at least 5"),
        ("td3", {"policy_delay": 0.5}, "policy_delay: got 0.5, expected a whole number of at least 1"),
        ("rainbow_dqn", {"n_steps": 0.5}, "n_steps: got 0.5, expected a whole number of at least 1"),
        ("dqn", {"exploration": 2}, "exploration: got 2.0, expected a number from 0 to 1"),
        ("sac", {"gamma": 1.5}, "gamma: got 1.5, expected a number from 0 to 1"),
        ("qrdqn", {"learning_rate": float("nan")}, "learning_rate: got nan"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused_by_name(name, parameters, message):
    with pytest.raises(ValueError, match=message):
        learn(lesson(name, parameters=parameters))


def test_no_minibatch_is_a_single_row():
    # 512 = 73 * 7 + 1, 512 = 85 * 6 + 2
    assert (minibatch(7, 512), minibatch(64, 512), minibatch(5_000, 512)) == (6, 64, 512)
    for n_rows in range(2, 40):
        for wanted in range(2, 40):
            assert n_rows % minibatch(wanted, n_rows) != 1


@pytest.mark.parametrize("name", ["ppo", "masked_ppo", "recurrent_ppo"])
def test_an_odd_batch_size_is_learned_with(name):
    parameters = {"n_copies": 8, "n_epochs": 1, "batch_size": 7}
    assert learn(lesson(name, n_steps=512, parameters=parameters)).steps_done == 512
