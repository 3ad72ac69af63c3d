"""`manage.py bench sac`: gradient steps a second against Stable-Baselines3, and whether both learn the same. Pure."""

import time
from functools import partial
from typing import Any

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback

from agents.benchmarks.off_policy_bench import EPISODE, N_COPIES, by_turns, filled, playground, threads
from agents.environment.actions import TARGET
from agents.learners.dense import linear
from agents.learners.fast_sac import FastSAC
from agents.learners.watch import Watch
from core.measurement import Measurement

WIDTH, BATCH = 256, 256
N_SEEDS, N_POINTS = 5, 7  # a point for every time the episodes end, which all copies' do at once
SETTINGS: dict[str, Any] = {
    "policy": "MlpPolicy",
    "device": "cpu",
    "batch_size": BATCH,
    "gamma": 0.8,
    "learning_rate": 1e-3,
    "policy_kwargs": {"net_arch": [WIDTH, WIDTH]},
}


def sac() -> list[Measurement]:
    """Gradient steps a second, the share of what matrix multiplication allows, and both learning curves."""
    found = {}
    models = {"ours": filled(partial(FastSAC, **SETTINGS), TARGET), "theirs": filled(partial(SAC, **SETTINGS), TARGET)}
    # On two threads only a glance: where others use the cores too, threads mostly wait for each other.
    for n_threads, n_turns, n_steps in ((1, 15, 20), (2, 5, 5)):
        with threads(n_threads):
            found[n_threads] = by_turns(models, BATCH, n_steps, n_turns)
    with threads(1):
        limits = products_per_second()
        curves = {name: learning_curves(kind) for name, kind in (("ours", FastSAC), ("theirs", SAC))}
    work = operations(models["ours"])
    more = {
        "two_threads": round(found[2]["ours"], 1),
        "two_threads_baseline": round(found[2]["theirs"], 1),
        "gflops": round(work * found[1]["ours"] / 1e9, 1),
        "matmul_limit_gflops": {key: round(value / 1e9, 1) for key, value in limits.items()},
        "share_of_limit": round(work * found[1]["ours"] / max(limits.values()), 3),
        **compared(curves["ours"], curves["theirs"]),
    }
    return [Measurement("sac", found[1]["ours"], "gradient steps/s", found[1]["theirs"], BASELINE, more)]


BASELINE = "Stable-Baselines3 SAC, same hyper-parameters, [256, 256], batch 256, one thread"


def products_per_second() -> dict[str, float]:
    """Floating point operations a second of a 256 x 256 x 256 product, by torch's usual way and by ours."""
    x, weight = torch.randn(BATCH, WIDTH), torch.randn(WIDTH, WIDTH)
    ways = {"torch_mm": lambda: torch.mm(x, weight.t()), "onednn": lambda: linear(x, weight)}
    best = dict.fromkeys(ways, float("inf"))
    with torch.no_grad():
        for _ in range(20):
            for name, product in ways.items():
                start = time.perf_counter()
                for _ in range(20):
                    product()
                best[name] = min(best[name], (time.perf_counter() - start) / 20)
    return {name: 2.0 * BATCH * WIDTH * WIDTH / seconds for name, seconds in best.items()}


def operations(model: FastSAC) -> float:
    """Floating point operations of the products one gradient step cannot do without.

    Per row: the actor forward on two observations and backward once; two target critics forward; two critics forward
    and backward for their own loss, forward and back to the action for the actor's. Backward is one product for the
    weights and one for the inputs, the latter not for a first layer whose inputs need no gradient.
    """
    actor, critic = (
        sum(weight.numel() for weight in net.weights) for net in (model.dense_actor, model.dense_critics[0])
    )
    actor_first, critic_first = model.dense_actor.weights[0].numel(), model.dense_critics[0].weights[0].numel()
    of_actor = 2 * actor + (2 * actor - actor_first)
    of_critics = 2 * (critic + (3 * critic - critic_first) + (2 * critic - critic_first))
    return 2.0 * BATCH * (of_actor + of_critics)


class _Curve(BaseCallback):
    """Mean return of the episodes, every time they end."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch, self.points = watch, list[float]()

    def _on_step(self) -> bool:
        if self.watch.n_episodes:
            self.points.append(float(self.watch.report()["episode_return"]))
        return True


def learning_curves(kind: type[SAC]) -> np.ndarray:
    """Mean episode returns along the learning, (N_SEEDS, N_POINTS)."""
    curves, n_steps = [], N_POINTS * EPISODE * N_COPIES
    for seed in range(N_SEEDS):
        env, watch = playground(TARGET, seed)
        model = kind(env=env, seed=seed, learning_starts=0, buffer_size=n_steps, **SETTINGS)
        curve = _Curve(watch)
        model.learn(n_steps, callback=curve)
        curves.append(curve.points)
    return np.array(curves)


def compared(ours: np.ndarray, theirs: np.ndarray) -> dict[str, Any]:
    """The medians over seeds side by side, and how far they are apart beside how far theirs rise."""
    mine, yours = np.median(ours, axis=0), np.median(theirs, axis=0)
    return {
        "curve": [round(value, 4) for value in mine.tolist()],
        "curve_baseline": [round(value, 4) for value in yours.tolist()],
        "final_return": round(float(mine[-1]), 4),
        "final_return_baseline": round(float(yours[-1]), 4),
        "largest_gap_of_rise": round(float(np.abs(mine - yours).max() / max(np.ptp(yours), 1e-9)), 3),
        "seeds": N_SEEDS,
    }
