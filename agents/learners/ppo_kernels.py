"""The inner loops of PPO, compiled: advantages, sampling, and the derivative of the loss by the network's outputs.

All arrays float32, C order. Formulas are those of Stable-Baselines3's PPO; sources are named at each.
"""

import numpy as np

from agents.learners.vector_math import exp
from core.simulation.compiled import compiled

# Columns of what the losses add up to over a minibatch.
POLICY_LOSS, VALUE_LOSS, ENTROPY, KL, CLIPPED, N_SUMS = 0, 1, 2, 3, 4, 5
HALF_LOG_TWO_PI = 0.9189385332046727


@compiled(error_model="numpy")
def gae(
    rewards: np.ndarray,
    values: np.ndarray,
    starts: np.ndarray,
    last_values: np.ndarray,
    last_over: np.ndarray,
    gamma: np.float32,
    decay: np.float32,
    advantages: np.ndarray,
    returns: np.ndarray,
) -> None:
    """Generalised advantages and TD(lambda) returns of a rollout (T, N).

    starts: (T, N), 1 where an episode began with this step; last_over: (N,), 1 where the next step begins one.
    Source: Schulman et al., "High-Dimensional Continuous Control Using Generalized Advantage Estimation", 2016.
    """
    n_steps, n = rewards.shape
    for t in range(n_steps - 1, -1, -1):
        for i in range(n):
            following = last_values[i] if t == n_steps - 1 else values[t + 1, i]
            goes_on = np.float32(1.0) - (last_over[i] if t == n_steps - 1 else starts[t + 1, i])
            after = np.float32(0.0) if t == n_steps - 1 else advantages[t + 1, i]
            surprise = rewards[t, i] + gamma * following * goes_on - values[t, i]
            advantages[t, i] = surprise + gamma * decay * goes_on * after
            returns[t, i] = advantages[t, i] + values[t, i]


@compiled(error_model="numpy")
def draw_choices(
    logits: np.ndarray, uniforms: np.ndarray, n_choices: int, actions: np.ndarray, log_probs: np.ndarray
) -> None:
    """Draw a choice per row and group of logits. logits: (N, I * K); uniforms, actions: (N, I); log_probs: (N,)."""
    for i in range(logits.shape[0]):
        log_prob = np.float32(0.0)
        for group in range(uniforms.shape[1]):
            first = group * n_choices
            top, total = _top_and_total(logits[i], first, n_choices)
            wanted, reached, choice = uniforms[i, group] * total, np.float32(0.0), n_choices - 1
            for k in range(n_choices):
                reached += np.exp(logits[i, first + k] - top)
                if wanted < reached:
                    choice = k
                    break
            actions[i, group] = choice
            log_prob += logits[i, first + choice] - top - np.log(total)
        log_probs[i] = log_prob


@compiled(error_model="numpy")
def _top_and_total(logits: np.ndarray, first: int, n_choices: int) -> tuple[np.float32, np.float32]:
    top = logits[first]
    for k in range(1, n_choices):
        top = max(top, logits[first + k])
    total = np.float32(0.0)
    for k in range(n_choices):
        total += np.exp(logits[first + k] - top)
    return top, total


@compiled(error_model="numpy")
def draw_gaussian(
    means: np.ndarray, log_deviations: np.ndarray, normals: np.ndarray, actions: np.ndarray, log_probs: np.ndarray
) -> None:
    """Draw from a normal distribution per column. means, normals, actions: (N, I); log_deviations: (I,)."""
    for i in range(means.shape[0]):
        log_prob = np.float32(0.0)
        for group in range(means.shape[1]):
            normal = normals[i, group]
            actions[i, group] = means[i, group] + np.exp(log_deviations[group]) * normal
            log_prob += np.float32(-0.5) * normal * normal - log_deviations[group] - np.float32(HALF_LOG_TWO_PI)
        log_probs[i] = log_prob


@compiled(error_model="numpy")
def _policy_slopes(log_ratios: np.ndarray, advantages: np.ndarray, clip: np.float32, sums: np.ndarray) -> None:
    """Turn each row's log ratio into the derivative of its clipped surrogate loss by its log probability; adds up.

    Source: Schulman et al., "Proximal Policy Optimization Algorithms", 2017, equation 7; the estimate of the KL
    divergence is Schulman's "Approximating KL Divergence", 2020.
    """
    one, nothing = np.float32(1.0), np.float32(0.0)
    ratios = log_ratios.copy()
    exp(ratios)
    divergence, n_clipped, loss = 0.0, 0, 0.0
    for i in range(len(ratios)):
        ratio = ratios[i]
        divergence += ratio - one - log_ratios[i]
        n_clipped += abs(ratio - one) > clip
        plain, held = advantages[i] * ratio, advantages[i] * min(max(ratio, one - clip), one + clip)
        loss -= min(plain, held)
        # Where the limited ratio gives the smaller gain nothing is to be won by going further.
        log_ratios[i] = -plain if plain <= held else nothing
    sums[KL] += divergence
    sums[CLIPPED] += n_clipped
    sums[POLICY_LOSS] += loss


@compiled(error_model="numpy")
def value_losses(
    values: np.ndarray, returns: np.ndarray, settings: np.ndarray, by_values: np.ndarray, sums: np.ndarray
) -> None:
    """Derivative of PPO's loss by values (B,); settings and sums: see choice_losses."""
    found, scale = 0.0, np.float32(2.0) * settings[2] / np.float32(len(values))
    for i in range(len(values)):
        error = values[i] - returns[i]
        found += error * error
        by_values[i] = scale * error
    sums[VALUE_LOSS] += found


@compiled(error_model="numpy")
def choice_losses(
    logits: np.ndarray,
    actions: np.ndarray,
    old_log_probs: np.ndarray,
    advantages: np.ndarray,
    n_choices: int,
    settings: np.ndarray,
    by_logits: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Derivative of PPO's loss by logits (B, I * K), for choices.

    settings: clip range, entropy coefficient, value coefficient; sums: (N_SUMS,) float64, added to.
    """
    n, n_groups = actions.shape
    levels, spreads = np.empty((n, n_groups), np.float32), np.empty((n, n_groups), np.float32)
    slopes = np.empty(n, np.float32)
    for i in range(n):
        for group in range(n_groups):
            first = group * n_choices
            top = logits[i, first]
            for k in range(first + 1, first + n_choices):
                top = max(top, logits[i, k])
            levels[i, group] = top
            for k in range(first, first + n_choices):
                by_logits[i, k] = logits[i, k] - top
    exp(by_logits.reshape(-1))
    for i in range(n):
        log_prob = np.float32(0.0)
        for group in range(n_groups):
            first, total, spread = group * n_choices, np.float32(0.0), np.float32(0.0)
            for k in range(first, first + n_choices):
                total += by_logits[i, k]
            level = levels[i, group] + np.log(total)
            for k in range(first, first + n_choices):
                by_logits[i, k] /= total  # its chance
                spread -= by_logits[i, k] * (logits[i, k] - level)
            levels[i, group], spreads[i, group] = level, spread
            sums[ENTROPY] += spread
            log_prob += logits[i, first + int(actions[i, group])] - level
        slopes[i] = log_prob - old_log_probs[i]
    _policy_slopes(slopes, advantages, settings[0], sums)
    share = np.float32(1.0) / np.float32(n)
    for i in range(n):
        slope = share * slopes[i]
        for group in range(n_groups):
            first, weight = group * n_choices, settings[1] * share
            taken = first + int(actions[i, group])
            for k in range(first, first + n_choices):
                chance = by_logits[i, k]
                by_entropy = chance * (logits[i, k] - levels[i, group] + spreads[i, group])
                by_logits[i, k] = weight * by_entropy - slope * chance
            by_logits[i, taken] += slope


@compiled(error_model="numpy")
def gaussian_losses(
    means: np.ndarray,
    actions: np.ndarray,
    old_log_probs: np.ndarray,
    advantages: np.ndarray,
    log_deviations: np.ndarray,
    settings: np.ndarray,
    by_means: np.ndarray,
    by_deviations: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Derivative of PPO's loss by means (B, I) and log deviations (I,), for target positions."""
    n, n_groups = actions.shape
    share = np.float32(1.0) / np.float32(n)
    constant = np.float32(HALF_LOG_TWO_PI)
    inverse, slopes = np.exp(-log_deviations), np.empty(n, np.float32)
    by_deviations[:] = -settings[1]
    for group in range(n_groups):
        sums[ENTROPY] += n * (0.5 + constant + log_deviations[group])
    for i in range(n):
        log_prob = np.float32(0.0)
        for group in range(n_groups):
            # By the deviation's size at first, the mean's derivative later.
            normal = (actions[i, group] - means[i, group]) * inverse[group]
            by_means[i, group] = normal
            log_prob += np.float32(-0.5) * normal * normal - log_deviations[group] - constant
        slopes[i] = log_prob - old_log_probs[i]
    _policy_slopes(slopes, advantages, settings[0], sums)
    for i in range(n):
        slope = share * slopes[i]
        for group in range(n_groups):
            normal = by_means[i, group]
            by_deviations[group] += slope * (normal * normal - np.float32(1.0))
            by_means[i, group] = slope * normal * inverse[group]
