"""The start form's fields for reward, episodes and what varies: they become settings, and the run's page shows them."""

from dataclasses import fields

import pytest
from django.urls import reverse

from agents.environment.randomise import RandomiseSettings
from agents.environment.rewards import RewardSettings
from agents.models import TrainingRun
from agents.studies.search import WEIGHT, reward_weights
from agents.training_pages.run_words import differences, episode_words, reward_of_run, variation_words
from agents.training_pages.training_forms import StartForm
from agents.training_pages.training_more import PLACES
from agents.training_pages.training_words import REWARDS

pytestmark = pytest.mark.django_db


def text(response) -> str:
    return response.content.decode()


def sent(**values: object) -> dict[str, object]:
    usual = {
        "agent": "aapl-swing", "algorithm": "ppo", "network": "mlp", "actions": "choice", "n_trials": 4, "n_seeds": 2,
        "n_folds": 3, "sampler": "tpe", "backend": "cpu", "n_workers": 0, "seed": 1, "queued": "on",
    }  # fmt: skip
    return {**usual, **values}


def test_every_part_of_the_reward_and_everything_that_may_vary_has_a_field():
    parts = {place.key for place in PLACES.values() if place.part == "reward"}
    assert parts == {field.name for field in fields(RewardSettings)} - {"volatility_floor"}
    varied = {place.key for place in PLACES.values() if place.part == "randomise"}
    assert varied == {field.name for field in fields(RandomiseSettings)}
    assert set(REWARDS) == set(reward_weights()) and all(name in StartForm.base_fields for name in PLACES)


def test_what_is_filled_in_becomes_settings_and_is_shown_on_the_run(operator, desk):
    before = {**desk.aapl.configuration.data}
    chosen = {
        "reward_kind": "risk_adjusted", "reward_drawdown": "0.5", "reward_holding": "0.001", "costs": "30",
        "paths": "2", "block": "40", "episodes": "fixed", "episode_length": "120",
    }  # fmt: skip
    assert operator.post("/training/new/", sent(**chosen)).status_code == 302
    run = TrainingRun.objects.latest("id")
    data = run.configuration.data
    asked = {"kind": "risk_adjusted", "drawdown": 0.5, "holding": 0.001}
    assert data["reward"] == {**before.get("reward", {}), **asked}
    assert data["randomise"] == {"costs": 0.3, "paths": 2, "block": 40}
    assert data["episodes"] == {"kind": "fixed", "length": 120}
    page = text(operator.get(reverse("training-run", args=[run.pk])))
    for words in (
        "Net return by volatility 1, deeper drawdown 0.5, holding 0.001", "Fixed windows, 120 bars each",
        "costs by 30\u202f%, 2 synthetic paths in blocks of 40 bars", "Changed since run",
    ):  # fmt: skip
        assert words in page, words
    # The next form begins with them, and sending it unchanged makes no new settings.
    form = text(operator.get("/training/form/?agent=aapl-swing"))
    assert 'name="reward_drawdown" value="0.5"' in form and 'name="paths" value="2"' in form
    operator.post("/training/new/", sent(**chosen))
    assert desk.aapl.configurations.count() == 2


def test_an_emptied_weight_is_the_usual_one(operator, desk):
    operator.post("/training/new/", sent(reward_drawdown="0.7", reward_net_return="0.5"))
    operator.post("/training/new/", sent(reward_drawdown="", reward_net_return="", episode_length=""))
    reward = desk.aapl.configuration.data["reward"]
    assert (reward["drawdown"], reward["net_return"]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"reward_drawdown": "-1"}, "Deeper drawdown: at least 0."),
        ({"reward_cost": "much"}, "Trading costs: that is not a number."),
        ({"reward_cost": "nan"}, "Trading costs: that is not a number."),
        ({"reward_kind": "luck"}, "First part: choose one of the list."),
        ({"reward_net_return": "0", "reward_drawdown": "0"}, "with every weight at 0 there is nothing to learn for"),
        ({"reward_differential_sharpe": "1", "sharpe_rate": "0"}, "Sharpe ratio: it does nothing while"),
        ({"paths": "1.5"}, "Synthetic paths: that is not a whole number."),
        ({"paths": "1000000"}, "Synthetic paths: at most 100."),
        ({"block": "0"}, "Bars of a block: at least 1."),
        ({"episode_length": "1"}, "Bars of an episode: at least 2."),
    ],
)
def test_what_makes_no_sense_is_said_at_its_field(operator, desk, values, words):
    before = TrainingRun.objects.count()
    response = operator.post("/training/new/", sent(**values))
    assert response.status_code == 422 and words in text(response)
    assert TrainingRun.objects.count() == before
    part = "start-reward" if any(name.startswith(("reward_", "sharpe")) for name in values) else "start-more"
    assert f'id="{part}" open' in text(response)  # the part with the fault is not left closed


def test_a_ratio_is_learned_for_once_its_rate_is_given(operator, desk):
    operator.post("/training/new/", sent(reward_differential_sharpe="1", sharpe_rate="0.01"))
    data = desk.aapl.configuration.data
    assert (data["reward"]["differential_sharpe"], data["rules"]["sharpe_rate"]) == (1.0, 0.01)


def test_the_price_of_changing_its_mind_is_offered_where_there_is_one(operator, desk):
    assert "reward_consistency" not in text(operator.get("/training/form/?agent=aapl-swing"))
    assert "reward_consistency" in text(operator.get("/training/form/?agent=ndx3x-trend"))
    assert operator.get("/training/form/?agent=aapl-swing&reward_consistency=x&paths=x").status_code == 200


def test_words_of_settings():
    assert reward_of_run({"training": {}}) == "Net return 1"
    varied = {"reward": {"drawdown": 0.2}, "training": {"search": {WEIGHT + "holding": {"low": 0, "high": 1}}}}
    assert reward_of_run(varied) == "Net return 1, deeper drawdown 0.2; the study varies holding"
    assert reward_of_run({"reward": {"net_return": 0}}) == "no part has a weight"
    assert episode_words({}) == "Random windows, 250 bars each" and variation_words({}) == ""
    one, other = {"features": ["rsi_14"], "randomise": {"costs": 0.5}}, {"features": ["rsi_14", "macd"], "rules": {}}
    assert differences(one, other) == [("Costs vary by, %", "50", "0"), ("features", "rsi_14", "rsi_14, macd")]
    assert differences(one, one) == []
