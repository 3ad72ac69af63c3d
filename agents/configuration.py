"""An agent's settings, parsed from AgentConfiguration.data and refused with the name of the key that is wrong."""

from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any, Self

from agents import algorithms
from agents.environment import own_state
from agents.environment.own_state import OwnSpec
from agents.environment.randomise import RandomiseSettings
from agents.environment.rewards import RewardSettings, check_rate
from agents.networks.spec import NetworkSpec
from agents.policies.features import FIRST, FeatureSpec
from agents.policies.normalisers import HALF_LIFE, ZSCORE, NormaliserChoice
from agents.setting_checks import ConfigurationError, check, check_known, is_number, is_whole, mapping, names_of, part
from agents.studies.search import search_space
from agents.training_pages.training_settings import EpisodeSettings, TrainingSettings
from core.simulation.rules import MarketRules

__all__ = [
    "AgentSettings", "ConfigurationError", "DeployChecks", "EpisodeSettings", "TrainingSettings", "check_fits",
    "demo_configuration", "parse",
]  # fmt: skip
KEYS = (
    "features", "own_state", "normaliser", "normaliser_half_life", "actions", "network", "rules", "reward", "episodes",
    "randomise", "training", "deploy_checks",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DeployChecks:
    """What the backtest on the unseen period must show before a version may trade. None: not checked."""

    largest_drawdown: float | None = 0.6  # at most, fraction below the running peak
    min_trades: int | None = 1  # at least, closed round trips
    min_sharpe: float | None = None  # at least, per year
    min_return: float | None = None  # at least, over the whole period, as a fraction
    max_turnover: float | None = None  # at most, value traded per year as a multiple of equity: more is churn

    def __post_init__(self) -> None:
        for name in names_of(type(self)):
            value = getattr(self, name)
            good = value is None or is_number(value)
            check(good, f"deploy_checks.{name}", value, "a number, or null for no check")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Parse data["deploy_checks"]; absent checks take their defaults."""
        check_known(values, names_of(cls), "deploy_checks.")
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class AgentSettings:
    """Everything an agent is configured by."""

    algorithm: str  # a name known to agents/algorithms
    features: FeatureSpec
    rules: MarketRules
    reward: RewardSettings
    training: TrainingSettings
    deploy_checks: DeployChecks
    own_state: OwnSpec = own_state.DEFAULT
    normaliser: NormaliserChoice = field(default_factory=NormaliserChoice)
    actions: str = ""  # choice, steps or target; empty: the algorithm's usual one
    network: NetworkSpec = field(default_factory=NetworkSpec)
    episodes: EpisodeSettings = field(default_factory=EpisodeSettings)
    randomise: RandomiseSettings = field(default_factory=RandomiseSettings)

    def __post_init__(self) -> None:
        algorithm = algorithms.get(self.algorithm)
        if not self.actions:
            object.__setattr__(self, "actions", algorithm.actions[0])
        for key, value, known in (
            ("actions", self.actions, algorithm.actions),
            ("network.kind", self.network.kind, algorithm.networks),
        ):
            check(value in known, key, value, f"what {algorithm.label} can use: {', '.join(known)}")

    def to_dict(self) -> dict[str, Any]:
        """AgentConfiguration.data that parses back into these settings."""
        return {
            "features": list(self.features.names),
            "own_state": list(self.own_state.names),
            "normaliser": self.normaliser.kind,
            "normaliser_half_life": self.normaliser.half_life,
            "actions": self.actions,
            "network": self.network.to_dict(),
            "rules": self.rules.to_dict(),
            "reward": self.reward.to_dict(),
            "episodes": asdict(self.episodes),
            "randomise": asdict(self.randomise),
            "training": self.training.to_dict(),
            "deploy_checks": asdict(self.deploy_checks),
        }


def parse(algorithm: str, data: dict[str, Any]) -> AgentSettings:
    """Settings from AgentConfiguration.data. Raises: ConfigurationError naming the key that is wrong."""
    check(algorithm in algorithms.names(), "algorithm", algorithm, f"one of {', '.join(algorithms.names())}")
    check(isinstance(data, dict), "configuration", data, f"an object with {', '.join(KEYS)}")
    check_known(data, list(KEYS), "")
    for key in ("features", "training"):
        check(key in data, key, None, "a value: it has no default")
    names = data["features"]
    check(isinstance(names, list), "features", names, "a list of feature names")
    settings = AgentSettings(
        algorithm=algorithm,
        features=part("features", lambda: FeatureSpec(tuple(names))),
        rules=part("rules", lambda: MarketRules.from_dict(mapping(data, "rules"))),
        reward=part("reward", lambda: RewardSettings.from_dict(mapping(data, "reward"))),
        training=part("training", lambda: TrainingSettings.from_dict(mapping(data, "training"))),
        deploy_checks=part("deploy_checks", lambda: DeployChecks.from_dict(mapping(data, "deploy_checks"))),
        own_state=part("own_state", lambda: _own_spec(data)),
        normaliser=_normaliser(data),
        actions=_actions(data),
        network=part("network", lambda: network_of(algorithm, mapping(data, "network"))),
        episodes=part("episodes", lambda: EpisodeSettings.from_dict(mapping(data, "episodes"))),
        randomise=part("randomise", lambda: _randomise(mapping(data, "randomise"))),
    )
    part("training.search", lambda: space_of(settings))
    part("reward", lambda: check_rate(settings.reward, settings.rules, settings.training.search))
    return settings


def space_of(settings: AgentSettings) -> dict[str, dict[str, Any]]:
    """What a study of these settings varies. Raises: ValueError naming a range that makes no sense."""
    training = settings.training
    return search_space(
        settings.algorithm, training.search, settings.features.names, settings.reward, settings.network,
        training.backend,
    )  # fmt: skip


def network_of(algorithm: str, values: dict[str, Any]) -> NetworkSpec:
    """The network of data["network"]; what is absent is the algorithm's usual choice. Raises: ValueError."""
    found = algorithms.get(algorithm)
    usual = {"kind": found.networks[0], "activation": "tanh" if found.on_policy else "relu"}
    return NetworkSpec.from_dict(usual | values)


def check_fits(
    rules: MarketRules, *, symbol: str, tick_size: float, lot: float, multiplier: float, settled_daily: bool
) -> None:
    """Refuse rules that would size or price an instrument wrongly.

    Raises: ConfigurationError naming the rule, what it says and what the instrument says.
    """
    for name, expected in (("tick_size", tick_size), ("lot", lot), ("multiplier", multiplier)):
        value = getattr(rules, name)
        if value != expected:
            raise ConfigurationError(f"rules.{name}: got {value:g}, but {symbol} has {expected:g}; correct one of them")
    if rules.settled_daily != settled_daily:
        kind = "a future, so gains go to cash at every close" if settled_daily else "no future, so its price is paid"
        raise ConfigurationError(f"rules.settled_daily: got {rules.settled_daily}, but {symbol} is {kind}")


def demo_configuration(algorithm: str, validation: date, unseen: date) -> dict[str, Any]:
    """AgentConfiguration.data of the demo's agents: ppo on a stock, sac on a three-times leveraged fund.

    Costs: the stock pays IBKR's fixed commission and half a spread of 1.5 bps. The fund pays 1 bps commission and
    half a spread of 3 bps, on a price step of a cent as exchanges have it; its constructed bars have no volume.
    Every other algorithm gets the settings of the one that acts like it.
    """
    found = algorithms.get(algorithm)
    choices = found.actions[0] != "target"
    if choices:
        rules = MarketRules(half_spread_bps=1.5, impact_bps=10.0, participation=0.05)
        reward = RewardSettings(drawdown=0.15)
    else:
        rules = MarketRules(half_spread_bps=3.0, schedule="bps", commission_bps=1.0, no_trade_band=0.1)
        reward = RewardSettings(kind="risk_adjusted", volatility=1.0)
    training = TrainingSettings(
        validation=validation, unseen=unseen, n_steps=98_304 if found.on_policy else 16_000, n_evaluations=6,
        n_trials=6, n_folds=2, n_seeds=1,
    )  # fmt: skip
    return AgentSettings(
        algorithm=algorithm,
        features=FeatureSpec(tuple(name for name in FIRST if not choices or name != "vix")),
        rules=rules,
        reward=reward,
        training=training,
        deploy_checks=DeployChecks(min_trades=3, max_turnover=150.0),
        network=network_of(algorithm, {}),
    ).to_dict()


def _own_spec(data: dict[str, Any]) -> OwnSpec:
    names = data.get("own_state", list(own_state.DEFAULT_NAMES))
    check(isinstance(names, list), "own_state", names, "a list of names")
    return OwnSpec(tuple(names))


def _actions(data: dict[str, Any]) -> str:
    value = data.get("actions", "")
    check(isinstance(value, str), "actions", value, "choice, steps or target")
    return value


def _randomise(values: dict[str, Any]) -> RandomiseSettings:
    check_known(values, names_of(RandomiseSettings), "randomise.")
    for name, least in (("paths", 0), ("block", 1)):
        value = values.get(name, least)
        check(is_whole(value, least), f"randomise.{name}", value, f"a whole number of at least {least}")
    return RandomiseSettings(**values)


def _normaliser(data: dict[str, Any]) -> NormaliserChoice:
    kind = part("normaliser", lambda: NormaliserChoice(data.get("normaliser", ZSCORE)).kind)
    return part("normaliser_half_life", lambda: NormaliserChoice(kind, data.get("normaliser_half_life", HALF_LIFE)))
