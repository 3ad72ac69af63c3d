import numpy as np
import pytest

from agents.configuration import ConfigurationError, parse
from agents.environment.rewards import COMPONENT_NAMES, RewardSettings, check_rate, reward, reward_of, sums_of
from agents.tests import worlds
from core.simulation.rules import MarketRules

PARTS = {
    "net_return": 0.01, "log_return": 0.00995, "drawdown": -0.02, "volatility": -0.04, "cost": -0.003,
    "differential_sharpe": 0.5, "differential_downside": -0.25, "holding": -6.0, "consistency": -0.8,
}  # fmt: skip
# What each component brings with a weight of 2 beside a net return of 0.01 with a weight of 1.
EACH = [
    ("drawdown", 0.01 - 0.04), ("volatility", 0.01 - 0.08), ("cost", 0.01 - 0.006), ("log_return", 0.01 + 0.0199),
    ("differential_sharpe", 1.01), ("differential_downside", 0.01 - 0.5), ("holding", 0.01 - 12.0),
    ("consistency", 0.01 - 1.6), ("net_return", 0.02),
]  # fmt: skip


@pytest.mark.parametrize(("name", "expected"), EACH)
def test_each_component_counts_with_its_weight(name, expected):
    settings = RewardSettings(**{name: 2.0})
    assert reward(PARTS, settings)[0] == pytest.approx(expected, abs=1e-15)
    row = np.array([*PARTS.values(), 0.0])
    assert tuple(PARTS) == COMPONENT_NAMES[:-1]
    assert reward_of(row, settings.as_array()) == pytest.approx(expected, abs=1e-15)


def test_all_weights_at_once_and_the_risk_adjusted_kind():
    # 0.01 / 0.04 = 0.25, times 3, plus one of everything but the net return.
    others = sum(value for name, value in PARTS.items() if name != "net_return")
    settings = RewardSettings(
        kind="risk_adjusted", net_return=3.0, **{name: 1.0 for name in PARTS if name != "net_return"}
    )
    earned, parts = reward(PARTS, settings)
    assert earned == pytest.approx(0.75 + others)
    assert parts == {**PARTS, "risk_adjusted_return": 0.25}


def test_a_component_that_has_a_weight_must_be_there():
    known = {name: PARTS[name] for name in ("net_return", "drawdown", "volatility", "cost")}
    assert reward(known, RewardSettings())[0] == 0.01
    with pytest.raises(ValueError, match="holding are missing"):
        reward(known, RewardSettings(holding=0.1))


def test_settings_come_back_from_their_dictionary_and_old_ones_still_fit():
    settings = RewardSettings(differential_sharpe=0.5, consistency=0.1)
    assert RewardSettings.from_dict(settings.to_dict()) == settings
    assert RewardSettings.from_dict({"drawdown": 0.3}) == RewardSettings(drawdown=0.3)
    for wrong, message in (({"mood": 1.0}, "unknown reward settings mood"), ({"holding": -1.0}, "reward holding")):
        with pytest.raises(ValueError, match=message):
            RewardSettings.from_dict(wrong)


def test_sums_are_named():
    rows = np.arange(20.0).reshape(2, 10)
    assert sums_of(rows) == dict(zip(COMPONENT_NAMES, range(10, 30, 2), strict=True))


@pytest.mark.parametrize("name", ["differential_sharpe", "differential_downside"])
def test_a_differential_ratio_that_is_switched_off_is_refused_where_settings_are_read(name):
    data = worlds.configuration()
    weighed = data | {"reward": {name: 0.1}}
    message = f"reward: a weight of {name} does nothing while rules.sharpe_rate is 0; set rules.sharpe_rate"
    with pytest.raises(ConfigurationError, match=message):
        parse("ppo", weighed)
    varied = data | {"training": data["training"] | {"search": {f"reward_{name}": {"low": 0.0, "high": 1.0}}}}
    with pytest.raises(ConfigurationError, match=message):
        parse("ppo", varied)
    with_rate = {"rules": data["rules"] | {"sharpe_rate": 0.01}}
    assert getattr(parse("ppo", weighed | with_rate).reward, name) == 0.1
    assert f"reward_{name}" in parse("ppo", varied | with_rate).training.search
    # Weights of 0 need no rate, whether set or searched.
    check_rate(RewardSettings(), MarketRules(), {f"reward_{name}": 0, "width": 16})
