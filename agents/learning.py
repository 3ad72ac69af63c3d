"""One trial: a Stable-Baselines3 learner on the training period, judged on the validation period as it goes. Pure.

The learner's own files (zip with pickle) are never written: its actor's weights are copied into a ServedPolicy.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from agents.backtest import BacktestResult, run_backtest
from agents.configuration import AgentSettings
from agents.dataset import Dataset
from agents.env import CHOICE, TARGET, EnvConfig, TradingEnv
from agents.policy import ServedPolicy
from agents.rewards import RewardSettings

N_ENVS = {"ppo": 16, "sac": 4}
N_STEPS_PER_ROLLOUT = 128
SAC_STEPS_PER_UPDATE = 8  # of all environments together, for one gradient step
ACTIVATION = {"ppo": "tanh", "sac": "relu"}
NEVER_TRADED = -1.0  # score of a policy without a single fill: worse than earning nothing
SECONDS_BETWEEN_REPORTS = 0.5


class TrainingDiverged(RuntimeError):
    """The network's weights became NaN or infinite; the trial is lost, other parameters may do."""


class TrainingStopped(Exception):
    """An operator asked for the training to end."""


@dataclass(frozen=True)
class Progress:
    """Where a trial stands."""

    steps_done: int
    steps_total: int
    steps_per_second: float


@dataclass(frozen=True, eq=False)
class TrialResult:
    """The best of a trial's evaluations."""

    score: float
    policy: ServedPolicy
    validation: BacktestResult
    evaluations: list[float]  # scores in order
    steps_done: int


Report = Callable[[Progress], None]
Judge = Callable[[int, float], bool]  # (evaluation number, score) -> whether to stop early


class _ScaledReward(VecEnvWrapper):
    """Multiplies rewards so that their size suits the learner; the environment's own reward keeps its meaning."""

    def __init__(self, venv: DummyVecEnv, scale: float) -> None:
        super().__init__(venv)
        self.scale = scale

    def reset(self) -> VecEnvObs:
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = self.venv.step_wait()
        return observations, rewards * self.scale, dones, infos


class _Supervisor(BaseCallback):
    """Evaluates at even distances, reports at most twice a second, and ends the learning when told to."""

    def __init__(self, trial: "Trial", total: int) -> None:
        super().__init__()
        self.trial, self.total = trial, total
        self.marks = [total * (i + 1) // trial.settings.training.n_evaluations for i in range(trial.n_evaluations)]
        self.started, self.reported = time.monotonic(), 0.0

    def _on_step(self) -> bool:
        now = time.monotonic()
        if now - self.reported >= SECONDS_BETWEEN_REPORTS:
            self.reported = now
            if self.trial.should_stop():
                raise TrainingStopped
            self._report(now)
        return True

    def _on_rollout_start(self) -> None:
        # Between rollouts the weights are settled: inside one, PPO has not learned from what it just saw.
        while self.marks and self.num_timesteps >= self.marks[0]:
            self.marks.pop(0)
            if self.trial.evaluate(self.model):
                raise _PrunedError

    def _on_training_end(self) -> None:
        if self.marks:
            self.trial.evaluate(self.model)
        self._report(time.monotonic())

    def _report(self, now: float) -> None:
        rate = self.num_timesteps / max(now - self.started, 1e-9)
        self.trial.report(Progress(min(self.num_timesteps, self.total), self.total, rate))


class _PrunedError(Exception):
    """The judge had seen enough."""


class Trial:
    """One learning run with given parameters and seed."""

    def __init__(
        self,
        dataset: Dataset,
        settings: AgentSettings,
        parameters: dict[str, Any],
        seed: int,
        *,
        start_cash: float = 50_000.0,
        report: Report = lambda progress: None,
        judge: Judge = lambda number, score: False,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.dataset, self.settings, self.parameters, self.seed = dataset, settings, parameters, seed
        self.start_cash, self.report, self.judge, self.should_stop = start_cash, report, judge, should_stop
        self.n_evaluations = settings.training.n_evaluations
        self.scores: list[float] = []
        self.best: TrialResult | None = None
        self.pruned = False

    def run(self) -> TrialResult:
        """Learn, evaluating as it goes. Returns: the best evaluation; `pruned` says whether the judge ended it early.

        Raises: TrainingDiverged, TrainingStopped.
        """
        torch.set_num_threads(self.settings.training.n_threads)
        total = self.settings.training.n_steps
        model = make_learner(self.dataset, self.settings, self.parameters, self.seed, self.start_cash)
        supervisor = _Supervisor(self, total)
        try:
            model.learn(total, callback=supervisor)
        except _PrunedError:
            self.pruned = True
        finally:
            model.get_env().close()  # type: ignore[union-attr]
        if self.best is None:
            raise TrainingDiverged("the trial ended before its first evaluation; raise training.n_steps")
        return self.best

    def evaluate(self, model: BaseAlgorithm) -> bool:
        """Backtest the weights as they are on the validation period. Returns: whether to stop."""
        policy = served(model, self.dataset, self.settings)
        rows = self.dataset.validation
        result = run_backtest(
            policy, self.dataset.market, self.dataset.bars.time, rows.first, rows.last,
            reward=self.settings.reward, start_cash=self.start_cash,
        )  # fmt: skip
        value = score(result, self.settings.training.min_trades)
        self.scores.append(value)
        if self.best is None or value > self.best.score:
            self.best = TrialResult(value, policy, result, self.scores, model.num_timesteps)
        return self.judge(len(self.scores) - 1, value)


def score(result: BacktestResult, min_trades: float) -> float:
    """What trials are ranked by: the validation Sharpe ratio after costs, less what too few trades cost.

    A policy that turns its money over fewer than min_trades times (in and out once is one) loses up to one point in
    proportion, so that buying once and holding does not pass for a strategy. One that never trades scores -1: its
    Sharpe ratio of 0 would beat every honest loser.
    """
    if len(result.track.fills) == 0:
        return NEVER_TRADED
    sharpe = result.metrics["sharpe_ratio"]
    missing = max(1.0 - result.metrics["n_turns"] / min_trades, 0.0) if min_trades else 0.0
    return (sharpe if np.isfinite(sharpe) else NEVER_TRADED) - missing


def make_learner(
    dataset: Dataset, settings: AgentSettings, parameters: dict[str, Any], seed: int, start_cash: float = 50_000.0
) -> BaseAlgorithm:
    """A Stable-Baselines3 learner on the training rows; same seed, same numbers on one thread."""
    reward = _scaled_penalties(settings.reward, float(parameters.get("penalty", 1.0)))
    config = EnvConfig(
        action=CHOICE if settings.algorithm == "ppo" else TARGET,
        rules=settings.rules,
        reward=reward,
        start_cash=start_cash,
        first=dataset.training.first,
        last=dataset.training.last,
        episode_length=min(settings.training.episode_length, len(dataset.training) - 1),
        own=settings.own_state,
    )
    copies: list[Callable[[], gymnasium.Env]] = [lambda: TradingEnv(dataset.market, config)]
    copies *= N_ENVS[settings.algorithm]
    env = _ScaledReward(DummyVecEnv(copies), 1.0 / _typical_reward(dataset, config))
    width = int(parameters["width"])
    if settings.algorithm == "ppo":
        return PPO(
            "MlpPolicy", env, seed=seed, device="cpu", verbose=0,
            n_steps=N_STEPS_PER_ROLLOUT, batch_size=512, n_epochs=int(parameters.get("n_epochs", 6)),
            learning_rate=float(parameters["learning_rate"]), gamma=float(parameters["gamma"]),
            ent_coef=float(parameters["ent_coef"]), gae_lambda=0.9,
            policy_kwargs={"net_arch": {"pi": [width, width], "vf": [width, width]}, "activation_fn": torch.nn.Tanh},
        )  # fmt: skip
    return SAC(
        "MlpPolicy", env, seed=seed, device="cpu", verbose=0,
        learning_rate=float(parameters["learning_rate"]), gamma=float(parameters["gamma"]),
        ent_coef=f"auto_{float(parameters['ent_coef'])}", tau=0.01,
        buffer_size=settings.training.n_steps, batch_size=128, learning_starts=1_000,
        train_freq=SAC_STEPS_PER_UPDATE // N_ENVS["sac"], gradient_steps=1,
        policy_kwargs={"net_arch": [width, width]},
    )  # fmt: skip


def _scaled_penalties(reward: RewardSettings, factor: float) -> RewardSettings:
    values = reward.to_dict()
    for name in ("drawdown", "volatility", "cost"):
        values[name] *= factor
    return RewardSettings(**values)


def _typical_reward(dataset: Dataset, config: EnvConfig) -> float:
    """Standard deviation of the reward when always invested, over the training rows."""
    env = TradingEnv(dataset.market, EnvConfig(**{**vars(config), "episode_length": None}))
    env.reset()
    action = 1 if env.is_choice else [1.0]
    rewards, over = [], False
    while not over:
        _, earned, terminated, truncated, _ = env.step(action)
        rewards.append(earned)
        over = terminated or truncated
    return max(float(np.std(rewards)), 1e-9)


def served(model: BaseAlgorithm, dataset: Dataset, settings: AgentSettings) -> ServedPolicy:
    """The learner's actor as a ServedPolicy. Raises: TrainingDiverged if a weight is NaN or infinite."""
    weights = _actor_weights(model)
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise TrainingDiverged(f"{name} became NaN or infinite after {model.num_timesteps} steps; lower the rate")
    hidden = tuple(len(tensor) for name, tensor in weights.items() if name.startswith("body.") and name[-4:] == "bias")
    return ServedPolicy.from_weights(
        settings.algorithm, dataset.spec, dataset.normaliser, settings.rules, hidden, ACTIVATION[settings.algorithm],
        weights, settings.own_state,
    )  # fmt: skip


def _actor_weights(model: BaseAlgorithm) -> dict[str, torch.Tensor]:
    policy: Any = model.policy
    if isinstance(model, PPO):
        body, heads = policy.mlp_extractor.policy_net, {"head": policy.action_net}
    else:
        body, heads = policy.actor.latent_pi, {"head": policy.actor.mu, "deviation_head": policy.actor.log_std}
    linears = [layer for layer in body if isinstance(layer, torch.nn.Linear)]
    named = {**{f"body.{number}": layer for number, layer in enumerate(linears)}, **heads}
    return {
        f"{name}.{part}": getattr(layer, part).detach().clone()
        for name, layer in named.items()
        for part in ("weight", "bias")
    }
