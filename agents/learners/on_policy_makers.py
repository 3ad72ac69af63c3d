"""Makes the on-policy learners: how many copies play, how long a rollout is, and what the library's learner is told."""

from dataclasses import replace
from typing import Any

from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C

from agents.algorithms.base import LearnerRequest
from agents.environment import actions as kinds
from agents.learners.arena import Arena, open_arena
from agents.learners.fast_ppo import FastPPO
from agents.learners.half_precision import calculate_in
from agents.learners.on_policy import OnPolicyLearner
from agents.learners.parameters import minibatch, number, whole
from agents.networks.sb3 import policy_kwargs
from agents.networks.spec import GAUSSIAN_CLIPPED, LOGITS, HeadSpec
from agents.runs.backends import device_of, precision_of

STEPS_PER_ROLLOUT = 64  # in every copy; rewards further off than that hardly count with a gamma of 0.95
SMALLEST_ROLLOUT, LARGEST_ROLLOUT = 2_048, 16_384  # steps of all copies together
ROLLOUTS = 32  # at least, in one learning, as far as the smallest rollout allows
A2C_STEPS = 5  # Stable-Baselines3's own


def make_ppo(request: LearnerRequest) -> OnPolicyLearner:
    """FastPPO on every kind of action and every network without memory."""
    arena = open_arena(request, copies(request))
    model = FastPPO(
        "MlpPolicy", arena.env, n_steps=STEPS_PER_ROLLOUT, reward_scale=arena.reward_scale, watcher=arena.watch,
        precision=precision_of(request.backend, request.network.kind), **common(request, arena), **clipping(request),
    )  # fmt: skip
    return OnPolicyLearner(request, arena, model, head_of(request))


def make_a2c(request: LearnerRequest) -> OnPolicyLearner:
    """Stable-Baselines3's A2C; a rollout is one batch."""
    n_copies = whole(request.parameters, "batch_size", 320, A2C_STEPS) // A2C_STEPS
    n_copies = whole(request.parameters, "n_copies", n_copies)
    arena = open_arena(request, n_copies)
    model = A2C("MlpPolicy", arena.watched(), n_steps=A2C_STEPS, **common(request, arena))
    return _learner(request, arena, model, head_of(request))


def make_masked_ppo(request: LearnerRequest) -> OnPolicyLearner:
    """sb3-contrib's MaskablePPO; the policy is served with the same masks."""
    arena = open_arena(request, copies(request))
    model = MaskablePPO(
        "MlpPolicy", arena.watched(), n_steps=STEPS_PER_ROLLOUT, **common(request, arena), **clipping(request)
    )
    head = HeadSpec(LOGITS, kinds.n_choices(request.config.action), {"masked": True}, request.n_instruments)
    return _learner(request, arena, model, head)


def make_recurrent_ppo(request: LearnerRequest) -> OnPolicyLearner:
    """sb3-contrib's RecurrentPPO."""
    arena = open_arena(request, copies(request))
    model = RecurrentPPO(
        "MlpLstmPolicy", arena.watched(), n_steps=STEPS_PER_ROLLOUT, **common(request, arena), **clipping(request)
    )
    return _learner(request, arena, model, head_of(request))


def _learner(request: LearnerRequest, arena: Arena, model: Any, head: HeadSpec) -> OnPolicyLearner:
    """A learner whose `train` is the library's own; FastPPO sees to its precision itself."""
    calculate_in(model.policy, precision_of(request.backend, request.network.kind))
    return OnPolicyLearner(request, arena, model, head)


def head_of(request: LearnerRequest) -> HeadSpec:
    """How policies of PPO's kind decide: the likeliest choice, or the centre of a normal distribution."""
    n = kinds.n_choices(request.config.action)
    head = HeadSpec(LOGITS, n) if n else HeadSpec(GAUSSIAN_CLIPPED)
    return replace(head, n_instruments=request.n_instruments)


def copies(request: LearnerRequest) -> int:
    """Copies of the environment: as many as leave enough rollouts, and one at least between two evaluations."""
    if "n_copies" in request.parameters:
        return whole(request.parameters, "n_copies", 1)
    most = request.n_steps // max(ROLLOUTS, request.settings.training.n_evaluations)
    fitting = 1 << max(most.bit_length() - 1, 0)  # a power of two, which minibatches divide
    return min(max(fitting, SMALLEST_ROLLOUT), LARGEST_ROLLOUT) // STEPS_PER_ROLLOUT


def common(request: LearnerRequest, arena: Arena) -> dict[str, Any]:
    """What every on-policy learner is told."""
    given = request.parameters
    return {
        "learning_rate": number(given, "learning_rate", 1e-3),
        "gamma": number(given, "gamma", 0.9, 1.0),
        "ent_coef": number(given, "ent_coef", 5e-3),
        "gae_lambda": number(given, "gae_lambda", 0.9, 1.0),
        "policy_kwargs": policy_kwargs(request.network, arena.n_features, arena.n_own),
        "seed": request.seed,
        "device": device_of(request.backend),
        "verbose": 0,
    }


def clipping(request: LearnerRequest) -> dict[str, Any]:
    """What those of PPO's kind are told besides."""
    given = request.parameters
    target = given.get("target_kl")
    return {
        "batch_size": minibatch(whole(given, "batch_size", 512, 2), STEPS_PER_ROLLOUT * copies(request)),
        "n_epochs": whole(given, "n_epochs", 6),
        "clip_range": number(given, "clip_range", 0.2),
        "target_kl": None if target is None else float(target),
    }
