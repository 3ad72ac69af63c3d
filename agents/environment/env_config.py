"""How an environment plays: actions, rules, reward, episodes, and what the agent sees."""

from dataclasses import dataclass, field

import numpy as np

from agents.environment import actions, episodes, own_state
from agents.environment.own_state import OwnSpec
from agents.environment.randomise import RandomiseSettings
from agents.environment.rewards import RewardSettings
from core.simulation.rules import MarketRules


@dataclass(frozen=True, kw_only=True)
class EnvConfig:
    """How the environment plays. Raises: ValueError naming the field that makes no sense."""

    action: str = actions.CHOICE  # choice: hold, buy, sell; steps: nine; target: position from -1 to 1
    rules: MarketRules | tuple[MarketRules, ...] = field(default_factory=MarketRules)  # one for all, or one each
    reward: RewardSettings = field(default_factory=RewardSettings)  # weights of the reward's parts
    start_cash: float = 50_000.0  # account currency
    first: int = 0  # row of the first bar a decision may be made at
    last: int | None = None  # row of the last bar, None for the market's last
    episode_length: int | None = None  # steps of a window, None for one pass from first to last
    own: OwnSpec = own_state.DEFAULT  # what the agent sees of itself
    window: int = 1  # bars of features it sees at once, the newest last
    episodes: str = episodes.RANDOM  # random, fixed or chronological, see agents.environment.episodes
    randomise: RandomiseSettings = field(default_factory=RandomiseSettings)  # what differs between episodes

    def __post_init__(self) -> None:
        if self.action not in actions.KINDS:
            raise ValueError(f"action must be one of {', '.join(actions.KINDS)}, got {self.action!r}")
        if not self.start_cash > 0:
            raise ValueError(f"start_cash must be above 0, got {self.start_cash!r}")
        if self.episode_length is not None and self.episode_length < 1:
            raise ValueError(f"episode_length must be at least 1 bar or None, got {self.episode_length!r}")
        if self.window < 1:
            raise ValueError(f"window must be at least 1 bar, got {self.window!r}")
        if self.episodes not in episodes.KINDS:
            raise ValueError(f"episodes must be one of {', '.join(episodes.KINDS)}, got {self.episodes!r}")
        if isinstance(self.rules, list):
            object.__setattr__(self, "rules", tuple(self.rules))

    def rules_of(self, n_instruments: int) -> tuple[MarketRules, ...]:
        """The rules of each instrument. Raises: ValueError if there are rules for another number of them."""
        if isinstance(self.rules, MarketRules):
            return (self.rules,) * n_instruments
        if len(self.rules) != n_instruments:
            raise ValueError(f"{len(self.rules)} rules for {n_instruments} instruments; give one for all, or one each")
        return self.rules

    def rules_array(self, n_instruments: int) -> np.ndarray:
        """The same as the kernel reads them, (I, N_RULES) float64."""
        return np.array([rules.as_array() for rules in self.rules_of(n_instruments)])

    def rows(self, n_bars: int) -> tuple[int, int]:
        """First and last row played. Raises: ValueError if they leave nothing to play."""
        last = n_bars - 1 if self.last is None else self.last
        if not 0 <= self.first < last < n_bars:
            raise ValueError(
                f"rows {self.first} to {last} of {n_bars} bars leave nothing to play; "
                "expected 0 <= first < last < number of bars"
            )
        return self.first, last

    def n_inputs(self, n_features: int, n_instruments: int = 1) -> int:
        """Length of an observation."""
        return self.window * n_features + len(self.own) * n_instruments
