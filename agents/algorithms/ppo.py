"""PPO: Stable-Baselines3's, over hundreds of compiled copies at once."""

from agents.algorithms.base import Learner, LearnerRequest
from agents.algorithms.registry import CLIPPING, TPU, Algorithm, register


def make(request: LearnerRequest) -> Learner:
    """A learner for the request.

    parameters: those of `space`, and n_epochs, gae_lambda, clip_range, target_kl (in torch), n_copies of the
    environment.
    """
    if request.backend == TPU:
        from agents.learners import jax_makers

        return jax_makers.make_ppo(request)
    from agents.learners.on_policy_makers import make_ppo

    return make_ppo(request)


register(
    Algorithm(
        name="ppo",
        label="PPO",
        description="Steady and quick to train; a good first choice for single stocks.",
        actions=("choice", "steps", "target"),
        networks=("mlp", "lstm", "tcn", "ane"),
        make=make,
        space={
            "learning_rate": {"low": 3e-4, "high": 3e-3, "log": True},
            "batch_size": {"choices": [256, 512, 1024]},
            "gamma": {"choices": [0.8, 0.9, 0.95]},
            "ent_coef": {"low": 1e-3, "high": 2e-2, "log": True},
        },
        optional=CLIPPING,
        on_policy=True,
        several=True,
        backends=("cpu", "cuda", "tpu"),
        lacks={TPU: ("target_kl",)},  # in torch it ends an update early, in sbx it changes the rate
    )
)
