"""What a learning is given, tells and hands back, and how its learner is made from it. Pure."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from agents import algorithms
from agents.algorithms.base import Learner, LearnerRequest
from agents.configuration import AgentSettings
from agents.environment.env_config import EnvConfig
from agents.learners.checkpoint import code_fingerprint, fingerprint
from agents.networks.spec import HeadSpec, NetworkSpec
from agents.policies.backtest import BacktestResult
from agents.policies.policy import ServedPolicy
from agents.runs import backends
from agents.runs.joint_dataset import AnyDataset
from agents.studies.folds import Rows
from core.simulation.rules import MarketRules

GO, PAUSE, STOP = "go", "pause", "stop"
# Where the desk's own learning code begins; algorithms are found by looking into their folder.
CODE = (Path(__file__), Path(__file__).with_name("learning.py"), Path(__file__).parents[1] / "algorithms")
# Whose versions decide the last digits; another one and a checkpoint is not gone on from.
LIBRARIES = ("torch", "numpy", "numba", "stable-baselines3", "sb3-contrib")


class TrainingStopped(Exception):
    """An operator asked for the learning to end."""


class TrainingPaused(Exception):
    """An operator asked for a pause; the checkpoint holds everything."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """All that decides what is learned."""

    dataset: AnyDataset  # scaled by the training rows
    settings: AgentSettings
    parameters: dict[str, Any]  # of the algorithm; what is missing takes its default
    seed: int
    training: Rows
    validation: Rows
    start_cash: float = 50_000.0  # account currency
    n_steps: int = 20_000  # of the environment, all copies together
    backend: str = backends.CPU
    # Of the second and further instruments; the first has the settings'. Without any, those hold for all.
    other_rules: tuple[MarketRules, ...] = ()

    @property
    def every_rules(self) -> tuple[MarketRules, ...]:
        """The rules of each instrument. Raises: ValueError if there are rules for another number of them."""
        given = (self.settings.rules, *self.other_rules) if self.other_rules else self.settings.rules
        return EnvConfig(rules=given).rules_of(self.dataset.market.n_instruments)

    def fingerprint(self) -> str:
        """SHA-256 (hex) of it, the libraries and the desk's code: from a checkpoint of another one nothing goes on."""
        data = self.dataset
        others = {"other_rules": [rules.to_dict() for rules in self.other_rules]} if self.other_rules else {}
        return fingerprint(
            {
                "data": data.fingerprint,
                "features": data.spec.names,
                "normaliser": data.normaliser.to_dict(),
                "settings": self.settings.to_dict(),
                "parameters": self.parameters,
                "seed": self.seed,
                "rows": [asdict(self.training), asdict(self.validation)],
                "start_cash": self.start_cash,
                "n_steps": self.n_steps,
                "backend": self.backend,
                "code": code_fingerprint(*CODE),
                "libraries": {name: version(name) for name in (*LIBRARIES, *backends.libraries(self.backend))},
                **others,
            }
        )


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a learning stands; means since the last report."""

    steps_done: int
    steps_total: int
    steps_per_second: float
    losses: dict[str, float] = field(default_factory=dict)
    reward_components: dict[str, float] = field(default_factory=dict)  # per step
    actions: dict[str, float] = field(default_factory=dict)  # share of steps by label
    episode_return: float | None = None
    note: str = ""  # what a person should know, such as a checkpoint that could not be used


@dataclass(frozen=True, kw_only=True, eq=False)
class LessonResult:
    """The best of a learning's evaluations, and what it ended with."""

    score: float
    policy: ServedPolicy
    validation: BacktestResult
    evaluations: list[float]  # scores in order
    steps_done: int
    pruned: bool  # whether the judge ended it early
    weights_sha256: str  # of the final weights: equal lessons end with equal ones


Report = Callable[[Progress], None]
Judge = Callable[[int, float], bool]  # (evaluation number, score) -> whether to stop early
Wish = Callable[[], str]  # go, pause or stop


def make_learner(lesson: Lesson, pulse: Callable[[], None] = lambda: None) -> Learner:
    """The algorithm's learner on the training rows; same lesson, same numbers on one thread.

    pulse: called many times within a round; what it raises ends the round.
    """
    settings, data, rows = lesson.settings, lesson.dataset, lesson.training
    network = settings.network.for_features(data.spec.names)
    length = settings.episodes.length or settings.training.episode_length
    rules = lesson.every_rules
    config = EnvConfig(
        action=settings.actions,
        rules=rules,
        reward=settings.reward,
        start_cash=lesson.start_cash,
        first=rows.first,
        last=rows.last,
        episode_length=min(length, len(rows) - 1),
        own=settings.own_state,
        window=network.window,
        episodes=settings.episodes.kind,
        randomise=settings.randomise,
    )
    paths = data.paths(rows, settings.randomise, lesson.seed)

    def build(*, network: NetworkSpec, head: HeadSpec, weights: dict[str, Any]) -> ServedPolicy:
        return ServedPolicy.from_parts(
            algorithm=settings.algorithm, actions=settings.actions, spec=data.spec, normaliser=data.normaliser,
            rules=rules[0], other_rules=rules[1:], network=network, head=head, weights=weights,
            own=settings.own_state,
        )  # fmt: skip

    request = LearnerRequest(
        markets=(data.market, *paths), config=config, network=network, settings=settings,
        parameters=lesson.parameters, seed=lesson.seed, n_steps=lesson.n_steps, backend=lesson.backend, pulse=pulse,
        build=build,
    )  # fmt: skip
    return algorithms.get(settings.algorithm).make(request)
