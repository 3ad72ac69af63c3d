import copy
from datetime import date

import pytest

from agents import algorithms
from agents.checks import check_all
from agents.configuration import ConfigurationError, DeployChecks, demo_configuration, parse, space_of
from agents.environment import own_state
from agents.environment.rewards import RewardSettings
from agents.networks.spec import NetworkSpec
from agents.policies.normalisers import NormaliserChoice
from agents.studies.drawn import applied
from agents.studies.search import search_space, suggest
from agents.tests.worlds import FEATURES, configuration


@pytest.mark.parametrize("algorithm", algorithms.names())
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
        (("training", "search"), {"height": 3}, "unknown parameter 'height'"),
        (("training", "search"), {"drop": "volume"}, "drop: got 'volume', expected one of momentum"),
        (("training", "search"), {"depth": 9}, "depth: got 9, expected a whole number from 1 to 8"),
        (("training", "search"), {"n_epochs": 2.5}, "n_epochs: got 2.5, expected a whole number from 1 to 50"),
        (("training", "search"), {"gae_lambda": {"low": 0.9, "high": 1.1}}, "gae_lambda: got .* from 0.01 to 1"),
        (("training", "search"), {"tau": 0.01}, "unknown parameter 'tau'"),  # of another algorithm
        (("training", "search"), {"network": "recurrent"}, "network: got 'recurrent', expected one of ane, lstm"),
        (("training", "search"), {"network": {"choices": ["mlp", "tcn"]}}, "tcn reads the last bars, but network.win"),
        (("training", "search"), {"window": {"choices": [8, 300]}}, "window: got .* whole number from 1 to 256"),
        (("training", "search"), {"gamma": {"low": 0, "high": 1, "log": True}}, "training.search: gamma"),
        (("training", "n_folds"), 0, "training.n_folds: got 0"),
        (("training", "n_seeds"), 1.5, "training.n_seeds: got 1.5"),
        (("training", "purge_bars"), -1, "training.purge_bars: got -1"),
        (("training", "sampler"), "grid", "training.sampler: got 'grid', expected one of tpe, nsga2"),
        (("training", "pruner"), "never", "training.pruner: got 'never', expected one of hyperband, median, none"),
        (("training", "backend"), "abacus", "training.backend: got 'abacus'"),
        (("training", "max_minutes"), 0, "training.max_minutes: got 0"),
        (("actions",), "shout", "actions: got 'shout', expected what PPO can use: choice, steps, target"),
        (("network",), {"kind": "recurrent"}, "network.kind: got 'recurrent', expected what PPO can use"),
        (("network",), {"kind": "mlp", "colour": 1}, "network: a network is described by"),
        (("episodes",), {"kind": "short"}, "episodes.kind: got 'short'"),
        (("episodes",), {"length": 1}, "episodes.length: got 1"),
        (("randomise",), {"costs": -1}, "randomise: randomise costs"),
        (("randomise",), {"noise": 1}, "unknown setting randomise.noise"),
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
    with pytest.raises(ConfigurationError, match="algorithm: got 'oracle', expected one of a2c, "):
        parse("oracle", configuration())


def test_settings_older_than_folds_and_networks_keep_their_meaning():
    data = {"features": ["rsi_14"], "training": {"periods": configuration()["training"]["periods"]}}
    settings = parse("ppo", data)
    assert (settings.actions, settings.network.kind, settings.network.hidden) == ("choice", "mlp", (64, 64))
    assert (settings.network.activation, parse("sac", data).network.activation) == ("tanh", "relu")
    assert (settings.episodes.kind, settings.randomise.costs, settings.randomise.paths) == ("random", 0.0, 0)
    training = settings.training
    assert (training.n_folds, training.n_seeds, training.n_final_seeds, training.purge_bars) == (3, 2, 3, None)
    assert (training.sampler, training.pruner, training.backend) == ("tpe", "hyperband", "cpu")
    assert training.n_steps_total == (12 * 3 * 2 + 3) * 20_000


def test_network_actions_and_episodes_are_chosen_and_come_back():
    chosen = {
        "actions": "steps",
        "network": {"kind": "ane", "hidden": [32], "window": 30, "options": {"heads": 2}},
        "episodes": {"kind": "chronological", "length": 60},
        "randomise": {"costs": 0.5, "paths": 2, "block": 10},
    }
    settings = parse("ppo", configuration() | chosen)
    assert (settings.network.kind, settings.network.window, settings.network.options["heads"]) == ("ane", 30, 2)
    assert (settings.actions, settings.episodes.length, settings.randomise.paths) == ("steps", 60, 2)
    assert parse("ppo", settings.to_dict()) == settings


class _FirstOfAll:
    def suggest_float(self, name, low, high, log):
        return low

    def suggest_int(self, name, low, high, log):
        return int(low)

    def suggest_categorical(self, name, choices):
        return choices[0]


def test_settings_narrow_the_search():
    usual = search_space("ppo", {})
    assert {"learning_rate", "width", "penalty", "gamma", "batch_size"} <= set(usual)
    wanted = {"width": 8, "gamma": {"low": 0.5, "high": 0.6}, "depth": {"low": 1, "high": 3, "whole": True}}
    drawn = suggest(_FirstOfAll(), search_space("ppo", wanted))
    assert (drawn["width"], drawn["gamma"], drawn["depth"]) == (8, 0.5, 1)
    assert drawn["learning_rate"] == usual["learning_rate"]["low"]


def test_a_width_of_one_s_own_holds_unless_the_study_is_asked_to_vary_it():
    data = configuration() | {"network": {"hidden": [256, 256]}}
    data["training"] = data["training"] | {"search": {}}
    settings = parse("ppo", data)
    assert "width" not in space_of(settings)
    drawn = suggest(_FirstOfAll(), space_of(settings))
    assert applied(settings, drawn)[0].network.hidden == (256, 256)
    data["training"]["search"] = {"width": {"choices": [128, 256]}}
    asked = parse("ppo", data)
    assert applied(asked, suggest(_FirstOfAll(), space_of(asked)))[0].network.hidden == (128, 128)
    assert "width" in search_space("ppo", {}, network=NetworkSpec())


def test_kind_and_window_of_the_network_are_varied_on_request():
    data = configuration() | {"network": {"kind": "ane", "window": 30, "options": {"heads": 2}}}
    data["training"]["search"] |= {"network": {"choices": ["tcn", "mlp"]}, "window": {"choices": [8, 16]}}
    settings = parse("ppo", data)
    drawn, rest = applied(settings, suggest(_FirstOfAll(), space_of(settings)))
    assert (drawn.network.kind, drawn.network.window) == ("tcn", 8)
    assert dict(drawn.network.options) == {"channels": 32, "kernel": 3}  # those of ane mean nothing to it
    assert not {"network", "window"} & set(rest)
    kept = applied(settings, {"network": "ane"})[0].network
    assert (kept.window, kept.options["heads"]) == (30, 2)
    assert "network" not in search_space("ppo", {}) and "window" not in search_space("ppo", {})


def test_what_an_algorithm_reads_besides_is_fixed_or_varied_on_request():
    space = search_space("ppo", {"n_epochs": 4, "gae_lambda": {"low": 0.8, "high": 0.99}, "n_copies": {"choices": [8]}})
    assert space["n_epochs"] == {"choices": [4]}
    assert space["gae_lambda"] == {"low": 0.8, "high": 0.99, "log": False, "whole": False}
    assert space["n_copies"] == {"choices": [8]}
    assert not {"n_epochs", "clip_range", "target_kl"} & set(search_space("ppo", {}))
    assert search_space("sac", {"steps_per_update": {"low": 4, "high": 16}})["steps_per_update"]["whole"]
    for found in algorithms.all_algorithms().values():
        assert not set(found.space) & set(found.optional)


def test_groups_of_features_may_be_dropped_one_at_a_time():
    space = search_space("ppo", {}, ["rsi_14", "ema_10", "macd"])
    assert space["drop"] == {"choices": ["nothing", "momentum", "trend"]}
    assert "drop" not in search_space("ppo", {}, ["rsi_14", "macd"])  # nothing would be left
    fixed = search_space("ppo", {"drop": "nothing"}, ["rsi_14", "ema_10"])
    assert fixed["drop"] == {"choices": ["nothing"]}


def test_without_penalties_there_is_nothing_to_multiply():
    assert "penalty" not in search_space("ppo", {}, (), RewardSettings())
    assert "penalty" in search_space("ppo", {}, (), RewardSettings(cost=1.0))
    assert "penalty" not in search_space("ppo", {"penalty": 1.0}, (), RewardSettings())
    weights = search_space("ppo", {"reward_drawdown": {"low": 0, "high": 1}}, (), RewardSettings())
    assert weights["reward_drawdown"] == {"low": 0, "high": 1, "log": False, "whole": False}


def test_drawn_parameters_change_features_network_and_reward_and_the_rest_is_the_algorithm_s():
    settings = parse("ppo", configuration() | {"network": {"hidden": [64, 32]}, "reward": {"drawdown": 0.2, "cost": 1}})
    parameters = {"learning_rate": 0.001, "width": 16, "depth": 3, "penalty": 2.0, "drop": "trend", "reward_cost": 0.5}
    drawn, rest = applied(settings, parameters)
    assert rest == {"learning_rate": 0.001}
    assert drawn.network.hidden == (16, 16, 16)
    assert (drawn.reward.drawdown, drawn.reward.cost) == (0.4, 1.0)  # the drawn weights, times the drawn factor
    assert drawn.features.names == tuple(name for name in FEATURES if name != "ema_10")
    assert applied(settings, {}) == (settings, {})
    assert applied(settings, {"depth": 3})[0].network.hidden == (64, 32, 32)


def test_deployment_checks_compare_with_their_limits_and_fail_without_a_value():
    limits = DeployChecks(largest_drawdown=0.2, min_trades=3, min_sharpe=0.0)
    checks = check_all({"max_drawdown": 0.25, "n_trades": 3.0, "sharpe_ratio": float("nan")}, limits)
    assert [(check["name"], check["passed"], check["value"]) for check in checks] == [
        ("Largest fall below the peak", False, 0.25),
        ("Closed trades", True, 3.0),
        ("Sharpe ratio", False, None),
    ]
