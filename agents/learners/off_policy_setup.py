"""What the off-policy algorithms are made from, read from a request."""

from collections.abc import Callable
from typing import Any

from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from agents.algorithms.base import LearnerRequest
from agents.environment import actions
from agents.learners.arena import open_arena
from agents.learners.exploring import Act
from agents.learners.half_precision import calculate_in
from agents.learners.off_policy import Export, OffPolicyLearner, Pace
from agents.learners.own_random import OwnRandom
from agents.learners.parameters import number, whole
from agents.networks.sb3 import policy_kwargs, weights_of
from agents.networks.spec import HeadSpec
from agents.runs.backends import device_of, precision_of

N_COPIES = 16
LEARNING_RATE, GAMMA = 1e-3, 0.9  # where the request's parameters do not say
# In the replay buffer; with a window of bars an observation is long.
MOST_STEPS_KEPT, MOST_BYTES_KEPT = 200_000, 256 << 20
RANDOM_SHARE, MOST_RANDOM_STEPS = 0.05, 2_000  # of all steps, at random before learning starts


def make_learner(
    request: LearnerRequest,
    make_model: Callable[..., OffPolicyAlgorithm],
    *,
    act: Act,
    head: HeadSpec,
    batch_size: int,
    steps_per_update: int,
    export: Export = weights_of,
    kind: type[OffPolicyLearner] = OffPolicyLearner,
) -> OffPolicyLearner:
    """A learner whose model is make_model(env=..., seed=..., ...) with what all of them share.

    batch_size and steps_per_update: where the request's parameters do not say.
    """
    parameters = request.parameters
    pace = Pace(
        batch_size=whole(parameters, "batch_size", batch_size),
        learning_starts=min(int(RANDOM_SHARE * request.n_steps), MOST_RANDOM_STEPS),
        steps_per_update=whole(parameters, "steps_per_update", steps_per_update),
    )
    random = OwnRandom()
    arena = open_arena(request, N_COPIES)
    with random():
        model = make_model(
            env=arena.env,
            seed=request.seed,
            device=device_of(request.backend),
            learning_rate=number(parameters, "learning_rate", LEARNING_RATE),
            gamma=number(parameters, "gamma", GAMMA, 1.0),
            batch_size=pace.batch_size,
            buffer_size=n_kept(request.n_steps, arena.batch.n_inputs),
            learning_starts=pace.learning_starts,
            policy_kwargs=policy_kwargs(request.network, arena.n_features, arena.n_own),
        )
        calculate_in(model.policy, precision_of(request.backend, request.network.kind))
    return kind(request, arena, model, random=random, pace=pace, act=act, head=head, export=export)


def n_kept(n_steps: int, n_inputs: int) -> int:
    """How many steps the replay buffer keeps: all of the learning's, as far as memory allows.

    A step holds two observations of n_inputs float32.
    """
    return min(n_steps + N_COPIES, MOST_STEPS_KEPT, max(MOST_BYTES_KEPT // (8 * n_inputs), N_COPIES))


def n_choices(request: LearnerRequest) -> int:
    """How many actions there are to choose from."""
    return actions.n_choices(request.config.action)


def exploration(request: LearnerRequest) -> dict[str, Any]:
    """What the DQN family needs besides: how long it tries things out, and how its target network follows.

    parameters: exploration, the share of all steps over which trying things out becomes rare.
    """
    return {
        "exploration_fraction": number(request.parameters, "exploration", 0.3, 1.0),
        "exploration_final_eps": 0.02,
        "target_update_interval": N_COPIES,
        "tau": number(request.parameters, "tau", 0.01, 1.0),
    }
