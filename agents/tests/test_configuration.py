import copy
from datetime import date

import pytest

from agents import own_state
from agents.checks import check_all
from agents.configuration import ConfigurationError, DeployChecks, demo_configuration, parse
from agents.normalisers import NormaliserChoice
from agents.search import search_space, suggest
from agents.tests.worlds import configuration


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_the_demo_settings_parse_and_come_back(algorithm):
    data = demo_configuration(algorithm, date(2009, 1, 2), date(2011, 7, 1))
    assert parse(algorithm, data).to_dict() == data


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("features",), ["rsi_15"], "features: unknown feature 'rsi_15'"),
        (("rules", "half_spread_bps"), -1, "rules: half_spread_bps"),
        (("rules", "spread"), 1, "rules: unknown market rules spread"),
        (("reward", "drawdown"), "a lot", "reward: reward drawdown"),
        (("training", "n_trials"), 0, "training.n_trials: got 0"),
        (("training", "n_tries"), 3, "unknown setting training.n_tries"),
        (("training", "periods"), {"validation": "soon", "unseen": "2014-01-01"}, "periods.validation: got 'soon'"),
        (("training", "periods"), {"validation": "2014-01-01", "unseen": "2013-01-01"}, "must come after"),
        (("training", "search"), {"width": "wide"}, "training.search: width"),
        (("training", "search"), {"depth": 3}, "unknown parameter 'depth'"),
        (("deploy_checks", "min_trades"), "many", "deploy_checks.min_trades: got 'many'"),
        (("deploy_checks", "luck"), 1, "unknown setting deploy_checks.luck"),
        (("colour",), "red", "unknown setting colour"),
        (("own_state",), "weight", "own_state: got 'weight', expected a list of names"),
        (("own_state",), ["weight", "mood"], "own_state: unknown own value 'mood'"),
        (("own_state",), ["drawdown"], "own_state: got drawdown, expected weight among them"),
        (("own_state",), ["weight", []], "own_state: "),
        (("normaliser",), "rank", "normaliser: got 'rank', expected one of zscore, robust, minmax, online"),
        (("normaliser",), None, "normaliser: got None, expected one of"),
        (("normaliser_half_life",), "long", "normaliser_half_life: got 'long', expected a number of bars"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused_by_its_name(path, value, message):
    data = copy.deepcopy(configuration())
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ConfigurationError, match=message.replace("(", r"\(")):
        parse("ppo", data)


def test_settings_older_than_the_choice_have_the_four_own_values_and_z_scores():
    settings = parse("ppo", configuration())
    assert settings.own_state == own_state.DEFAULT
    assert settings.normaliser == NormaliserChoice("zscore")


def test_own_values_and_normaliser_are_chosen_and_come_back():
    chosen = {"own_state": ["drawdown", "weight", "wanted_1"], "normaliser": "online", "normaliser_half_life": 60}
    settings = parse("sac", configuration("sac") | chosen)
    assert settings.own_state.names == ("drawdown", "weight", "wanted_1")
    assert settings.normaliser == NormaliserChoice("online", 60)
    assert parse("sac", settings.to_dict()) == settings


@pytest.mark.parametrize("key", ["features", "training"])
def test_what_has_no_default_must_be_there(key):
    data = configuration()
    del data[key]
    with pytest.raises(ConfigurationError, match=key):
        parse("ppo", data)


def test_an_unknown_algorithm_is_refused():
    with pytest.raises(ConfigurationError, match="one of ppo, sac"):
        parse("dqn", configuration())


class _FirstOfAll:
    def suggest_float(self, name, low, high, log):
        return low

    def suggest_categorical(self, name, choices):
        return choices[0]


def test_settings_narrow_the_search():
    space = search_space("ppo", {"width": 8, "gamma": {"low": 0.5, "high": 0.6}})
    drawn = suggest(_FirstOfAll(), space)
    assert (drawn["width"], drawn["gamma"], drawn["learning_rate"]) == (8, 0.5, 1e-4)


def test_deployment_checks_compare_with_their_limits_and_fail_without_a_value():
    limits = DeployChecks(largest_drawdown=0.2, min_trades=3, min_sharpe=0.0)
    checks = check_all({"max_drawdown": 0.25, "n_trades": 3.0, "sharpe_ratio": float("nan")}, limits)
    assert [(check["name"], check["passed"], check["value"]) for check in checks] == [
        ("Largest fall below the peak", False, 0.25),
        ("Closed trades", True, 3.0),
        ("Sharpe ratio", False, None),
    ]
