"""What is done to the rows of a rollout before they are learned from, compiled. All arrays float32, C order."""

import numpy as np

from core.simulation.compiled import compiled


@compiled(error_model="numpy")
def take(
    rows: np.ndarray,
    observations: np.ndarray,
    actions: np.ndarray,
    log_probs: np.ndarray,
    advantages: np.ndarray,
    returns: np.ndarray,
    into_observations: np.ndarray,
    into_actions: np.ndarray,
    into_log_probs: np.ndarray,
    into_advantages: np.ndarray,
    into_returns: np.ndarray,
) -> None:
    """Copy some rows of a rollout into a minibatch's memory."""
    for i in range(len(rows)):
        row = rows[i]
        for k in range(observations.shape[1]):
            into_observations[i, k] = observations[row, k]
        for k in range(actions.shape[1]):
            into_actions[i, k] = actions[row, k]
        into_log_probs[i], into_advantages[i], into_returns[i] = log_probs[row], advantages[row], returns[row]


@compiled(error_model="numpy")
def standardise(values: np.ndarray) -> None:
    """Less their mean, by their standard deviation (of n - 1), in place, (n,), n > 1; as SB3 does with advantages."""
    total, squares = 0.0, 0.0
    for value in values:
        total += value
    mean = total / len(values)
    for value in values:
        squares += (value - mean) ** 2
    scale = 1.0 / (np.sqrt(squares / (len(values) - 1)) + 1e-8)
    for i in range(len(values)):
        values[i] = np.float32((values[i] - mean) * scale)
