"""An agent's settings, parsed from AgentConfiguration.data and refused with the name of the key that is wrong."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from datetime import date
from math import isfinite
from typing import Any, Self, TypeVar

from agents import own_state
from agents.features import FIRST, FeatureSpec
from agents.normalisers import HALF_LIFE, ZSCORE, NormaliserChoice
from agents.own_state import OwnSpec
from agents.rewards import RewardSettings
from agents.search import search_space
from core.simulation.rules import MarketRules

ALGORITHMS = ("ppo", "sac")
T = TypeVar("T")
KEYS = (
    "features", "own_state", "normaliser", "normaliser_half_life", "rules", "reward", "training", "deploy_checks",
)  # fmt: skip


class ConfigurationError(ValueError):
    """A setting is missing or makes no sense; the message names its key."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a version is trained and judged before its one look at the unseen period."""

    validation: date  # first day of the validation period, which ranks the trials
    unseen: date  # first day of the unseen period, looked at once
    n_trials: int = 4  # finished trials per study, pruned ones included
    n_steps: int = 20_000  # environment steps per trial
    n_evaluations: int = 5  # backtests on the validation period per trial; the best one's weights are kept
    n_threads: int = 1  # of torch; more than one may change the last digits
    episode_length: int = 250  # bars of a training episode
    min_trades: int = 6  # times the money must be turned over on the validation period, or a trial loses score
    vix: str = "VIX"  # symbol of the volatility index, empty for none
    search: dict[str, Any] = field(default_factory=dict)  # ranges that replace the algorithm's own, see search.py

    def __post_init__(self) -> None:
        for name in ("n_trials", "n_steps", "n_evaluations", "n_threads", "episode_length"):
            _check(_whole(getattr(self, name), 1), f"training.{name}", getattr(self, name), "a whole number above 0")
        _check(_whole(self.min_trades, 0), "training.min_trades", self.min_trades, "a whole number of at least 0")
        _check(isinstance(self.vix, str), "training.vix", self.vix, "a symbol, or empty")
        _check(isinstance(self.search, dict), "training.search", self.search, "an object of ranges")
        if self.unseen <= self.validation:
            raise ConfigurationError(
                f"training.periods: unseen {self.unseen} must come after validation {self.validation}"
            )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Parse data["training"]: periods as ISO dates, the rest by field name."""
        values = dict(values)
        periods = values.pop("periods", None)
        _check(isinstance(periods, dict), "training.periods", periods, 'an object {"validation": date, "unseen": date}')
        _known(values, [name for name in _names(cls) if name not in ("validation", "unseen")], "training.")
        validation, unseen = (_date(periods.get(name), f"training.periods.{name}") for name in ("validation", "unseen"))
        return cls(validation=validation, unseen=unseen, **values)

    def to_dict(self) -> dict[str, Any]:
        """The reverse of from_dict."""
        values = asdict(self)
        periods = {name: values.pop(name).isoformat() for name in ("validation", "unseen")}
        return {"periods": periods, **values}


@dataclass(frozen=True, kw_only=True)
class DeployChecks:
    """What the backtest on the unseen period must show before a version may trade. None: not checked."""

    largest_drawdown: float | None = 0.6  # at most, fraction below the running peak
    min_trades: int | None = 1  # at least, closed round trips
    min_sharpe: float | None = None  # at least, per year
    min_return: float | None = None  # at least, over the whole period, as a fraction
    max_turnover: float | None = None  # at most, value traded per year as a multiple of equity: more is churn

    def __post_init__(self) -> None:
        for name in _names(type(self)):
            value = getattr(self, name)
            _check(value is None or _number(value), f"deploy_checks.{name}", value, "a number, or null for no check")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Parse data["deploy_checks"]; absent checks take their defaults."""
        _known(values, _names(cls), "deploy_checks.")
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class AgentSettings:
    """Everything an agent is configured by."""

    algorithm: str  # ppo: hold, buy, sell; sac: a target position
    features: FeatureSpec
    rules: MarketRules
    reward: RewardSettings
    training: TrainingSettings
    deploy_checks: DeployChecks
    own_state: OwnSpec = own_state.DEFAULT
    normaliser: NormaliserChoice = field(default_factory=NormaliserChoice)

    def to_dict(self) -> dict[str, Any]:
        """AgentConfiguration.data that parses back into these settings."""
        return {
            "features": list(self.features.names),
            "own_state": list(self.own_state.names),
            "normaliser": self.normaliser.kind,
            "normaliser_half_life": self.normaliser.half_life,
            "rules": self.rules.to_dict(),
            "reward": self.reward.to_dict(),
            "training": self.training.to_dict(),
            "deploy_checks": asdict(self.deploy_checks),
        }


def parse(algorithm: str, data: dict[str, Any]) -> AgentSettings:
    """Settings from AgentConfiguration.data. Raises: ConfigurationError naming the key that is wrong."""
    _check(algorithm in ALGORITHMS, "algorithm", algorithm, f"one of {', '.join(ALGORITHMS)}")
    _check(isinstance(data, dict), "configuration", data, f"an object with {', '.join(KEYS)}")
    _known(data, list(KEYS), "")
    for key in ("features", "training"):
        _check(key in data, key, None, "a value: it has no default")
    names = data["features"]
    _check(isinstance(names, list), "features", names, "a list of feature names")
    settings = AgentSettings(
        algorithm=algorithm,
        features=_part("features", lambda: FeatureSpec(tuple(names))),
        rules=_part("rules", lambda: MarketRules.from_dict(_mapping(data, "rules"))),
        reward=_part("reward", lambda: RewardSettings.from_dict(_mapping(data, "reward"))),
        training=_part("training", lambda: TrainingSettings.from_dict(_mapping(data, "training"))),
        deploy_checks=_part("deploy_checks", lambda: DeployChecks.from_dict(_mapping(data, "deploy_checks"))),
        own_state=_part("own_state", lambda: _own_spec(data)),
        normaliser=_normaliser(data),
    )
    _part("training.search", lambda: search_space(algorithm, settings.training.search))
    return settings


def check_fits(rules: MarketRules, *, symbol: str, tick_size: float, lot: float, multiplier: float) -> None:
    """Refuse rules that would size or price an instrument wrongly.

    Raises: ConfigurationError naming the rule, what it says and what the instrument says.
    """
    for name, expected in (("tick_size", tick_size), ("lot", lot), ("multiplier", multiplier)):
        value = getattr(rules, name)
        if value != expected:
            raise ConfigurationError(f"rules.{name}: got {value:g}, but {symbol} has {expected:g}; correct one of them")


def demo_configuration(algorithm: str, validation: date, unseen: date) -> dict[str, Any]:
    """AgentConfiguration.data of the demo's agents: ppo on a stock, sac on a three-times leveraged fund.

    Costs: the stock pays IBKR's fixed commission and half a spread of 1.5 bps. The fund pays 1 bps commission and
    half a spread of 3 bps, on a price step of a cent as exchanges have it; its constructed bars have no volume.
    """
    if algorithm == "ppo":
        rules = MarketRules(half_spread_bps=1.5, impact_bps=10.0, participation=0.05)
        reward = RewardSettings(drawdown=0.15)
        training = TrainingSettings(validation=validation, unseen=unseen, n_steps=98_304, n_evaluations=6)
    elif algorithm == "sac":
        rules = MarketRules(half_spread_bps=3.0, schedule="bps", commission_bps=1.0, no_trade_band=0.1)
        reward = RewardSettings(kind="risk_adjusted", volatility=1.0)
        training = TrainingSettings(validation=validation, unseen=unseen, n_steps=16_000, n_evaluations=6)
    else:
        raise ConfigurationError(f"algorithm: got {algorithm!r}, expected one of {', '.join(ALGORITHMS)}")
    names = tuple(name for name in FIRST if algorithm == "sac" or name != "vix")
    return AgentSettings(
        algorithm=algorithm,
        features=FeatureSpec(names),
        rules=rules,
        reward=reward,
        training=training,
        deploy_checks=DeployChecks(min_trades=3, max_turnover=150.0),
    ).to_dict()


def _own_spec(data: dict[str, Any]) -> OwnSpec:
    names = data.get("own_state", list(own_state.DEFAULT_NAMES))
    _check(isinstance(names, list), "own_state", names, "a list of names")
    return OwnSpec(tuple(names))


def _normaliser(data: dict[str, Any]) -> NormaliserChoice:
    kind = _part("normaliser", lambda: NormaliserChoice(data.get("normaliser", ZSCORE)).kind)
    return _part("normaliser_half_life", lambda: NormaliserChoice(kind, data.get("normaliser_half_life", HALF_LIFE)))


def _part(key: str, build: Callable[[], T]) -> T:
    try:
        return build()
    except ConfigurationError:
        raise
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{key}: {error}") from error


def _mapping(data: dict[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key, {})
    _check(isinstance(value, dict), key, value, "an object")
    return value


def _known(values: dict[str, Any], names: list[str], prefix: str) -> None:
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise ConfigurationError(f"unknown setting {prefix}{unknown[0]}; known: {', '.join(names)}")


def _names(kind: type) -> list[str]:
    return [item.name for item in fields(kind)]


def _date(value: Any, key: str) -> date:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{key}: got {value!r}, expected a date such as 2011-07-01") from error


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _check(good: bool, key: str, value: Any, expected: str) -> None:
    if not good:
        raise ConfigurationError(f"{key}: got {value!r}, expected {expected}")
