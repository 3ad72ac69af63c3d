"""Makes the learners of backend tpu: sbx's PPO, SAC and DQN, told what those in torch are told."""

import logging
from functools import partial
from typing import Any

import sbx

from agents.algorithms.base import LearnerRequest
from agents.learners import exploring
from agents.learners.arena import open_arena
from agents.learners.jax_learner import JaxOffPolicyLearner, JaxOnPolicyLearner
from agents.learners.jax_models import LayeredDQN, actions_of, policy_kwargs
from agents.learners.jax_weights import weights_of
from agents.learners.off_policy_setup import exploration, make_learner, n_choices
from agents.learners.on_policy_makers import STEPS_PER_ROLLOUT, clipping, common, copies, head_of
from agents.learners.parameters import entropy_target
from agents.networks.spec import GAUSSIAN, HeadSpec, Q
from agents.runs import backends

logger = logging.getLogger(__name__)


def make_ppo(request: LearnerRequest) -> JaxOnPolicyLearner:
    """sbx's PPO. Raises: BackendMissing; ValueError for target_kl, which means something else there."""
    _start(request)
    if request.parameters.get("target_kl") is not None:
        raise ValueError("target_kl ends an update early in torch but changes the rate in sbx; leave it out on tpu")
    arena = open_arena(request, copies(request))
    settings = common(request, arena) | clipping(request)
    settings["policy_kwargs"] = policy_kwargs(request.network) | {"ortho_init": True}
    settings["batch_size"] = min(settings["batch_size"], STEPS_PER_ROLLOUT * arena.batch.n_copies)
    model = sbx.PPO("MlpPolicy", arena.watched(), n_steps=STEPS_PER_ROLLOUT, **settings)
    return JaxOnPolicyLearner(request, arena, model, head_of(request))


def make_sac(request: LearnerRequest) -> JaxOffPolicyLearner:
    """sbx's SAC. Raises: BackendMissing."""
    _start(request)

    def model(**settings: Any) -> sbx.SAC:
        start = float(request.parameters.get("ent_coef", 0.1))
        tau = float(request.parameters.get("tau", 0.01))
        settings["policy_kwargs"] = policy_kwargs(request.network)
        chance: Any = entropy_target(request.parameters)
        return sbx.SAC("MlpPolicy", ent_coef=f"auto_{start}", target_entropy=chance, tau=tau, **settings)

    return _off_policy(request, model, exploring.draw, HeadSpec(GAUSSIAN, n_instruments=request.n_instruments))


def make_dqn(request: LearnerRequest) -> JaxOffPolicyLearner:
    """sbx's DQN. Raises: BackendMissing."""
    _start(request)

    def model(**settings: Any) -> LayeredDQN:
        settings["policy_kwargs"] = policy_kwargs(request.network)
        return LayeredDQN("MlpPolicy", **exploration(request), **settings)

    return _off_policy(request, model, exploring.now_and_then, HeadSpec(Q, n_choices(request)))


def _off_policy(request: LearnerRequest, model: Any, explore: Any, head: HeadSpec) -> JaxOffPolicyLearner:
    learner = make_learner(
        request, model, act=partial(explore, ask=actions_of), head=head, batch_size=128, steps_per_update=8,
        export=weights_of, kind=JaxOffPolicyLearner,
    )  # fmt: skip
    assert isinstance(learner, JaxOffPolicyLearner)
    return learner


def _start(request: LearnerRequest) -> None:
    backends.check_network(request.backend, request.network.kind)
    logger.info("%s", backends.jax_device())
