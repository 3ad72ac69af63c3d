"""The inner loops of PPO, compiled: advantages, sampling, and the derivative of the loss by the network's outputs.

All arrays float32, C order. Formulas are those of Stable-Baselines3's PPO; sources are named at each.
"""

import numpy as np

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
def _policy_slope(
    log_prob: np.float32, old_log_prob: np.float32, advantage: np.float32, clip: np.float32, sums: np.ndarray
) -> np.float32:
    """Derivative of one row's clipped surrogate loss by its log probability; adds to the sums.

    Source: Schulman et al., "Proximal Policy Optimization Algorithms", 2017, equation 7; the estimate of the KL
    divergence is Schulman's "Approximating KL Divergence", 2020.
    """
    log_ratio = log_prob - old_log_prob
    ratio = np.exp(log_ratio)
    limited = min(max(ratio, np.float32(1.0) - clip), np.float32(1.0) + clip)
    sums[KL] += ratio - np.float32(1.0) - log_ratio
    if abs(ratio - np.float32(1.0)) > clip:
        sums[CLIPPED] += 1.0
    plain, held = advantage * ratio, advantage * limited
    sums[POLICY_LOSS] -= min(plain, held)
    # Where the limited ratio gives the smaller gain nothing is to be won by going further.
    return -plain if plain <= held else np.float32(0.0)


@compiled(error_model="numpy")
def _value_slope(value: np.float32, wanted: np.float32, sums: np.ndarray) -> np.float32:
    error = value - wanted
    sums[VALUE_LOSS] += error * error
    return np.float32(2.0) * error


@compiled(error_model="numpy")
def choice_losses(
    logits: np.ndarray,
    values: np.ndarray,
    actions: np.ndarray,
    old_log_probs: np.ndarray,
    advantages: np.ndarray,
    returns: np.ndarray,
    n_choices: int,
    settings: np.ndarray,
    by_logits: np.ndarray,
    by_values: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Derivative of PPO's loss by logits (B, I * K) and values (B,), for choices.

    settings: clip range, entropy coefficient, value coefficient; sums: (N_SUMS,) float64, added to.
    """
    n, n_groups = actions.shape
    share = np.float32(1.0) / np.float32(n)
    level, spread = np.empty(n_groups, np.float32), np.empty(n_groups, np.float32)
    for i in range(n):
        log_prob = np.float32(0.0)
        for group in range(n_groups):
            first = group * n_choices
            top, total = _top_and_total(logits[i], first, n_choices)
            level[group] = top + np.log(total)
            spread[group] = np.float32(0.0)
            for k in range(first, first + n_choices):
                log_share = logits[i, k] - level[group]
                by_logits[i, k] = np.exp(log_share)
                spread[group] -= by_logits[i, k] * log_share
            sums[ENTROPY] += spread[group]
            log_prob += logits[i, first + int(actions[i, group])] - level[group]
        slope = _policy_slope(log_prob, old_log_probs[i], advantages[i], settings[0], sums) * share
        for group in range(n_groups):
            first = group * n_choices
            for k in range(first, first + n_choices):
                chance = by_logits[i, k]
                taken = np.float32(1.0) if k == first + int(actions[i, group]) else np.float32(0.0)
                by_entropy = chance * (logits[i, k] - level[group] + spread[group])
                by_logits[i, k] = slope * (taken - chance) + settings[1] * share * by_entropy
        by_values[i] = settings[2] * share * _value_slope(values[i], returns[i], sums)


@compiled(error_model="numpy")
def gaussian_losses(
    means: np.ndarray,
    values: np.ndarray,
    actions: np.ndarray,
    old_log_probs: np.ndarray,
    advantages: np.ndarray,
    returns: np.ndarray,
    log_deviations: np.ndarray,
    settings: np.ndarray,
    by_means: np.ndarray,
    by_values: np.ndarray,
    by_deviations: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Derivative of PPO's loss by means (B, I), values (B,) and log deviations (I,), for target positions."""
    n, n_groups = actions.shape
    share = np.float32(1.0) / np.float32(n)
    constant = np.float32(HALF_LOG_TWO_PI)
    by_deviations[:] = -settings[1]
    for group in range(n_groups):
        sums[ENTROPY] += n * (0.5 + constant + log_deviations[group])
    for i in range(n):
        log_prob = np.float32(0.0)
        for group in range(n_groups):
            # By the deviation's size at first, the mean's derivative later.
            by_means[i, group] = (actions[i, group] - means[i, group]) * np.exp(-log_deviations[group])
            normal = by_means[i, group]
            log_prob += np.float32(-0.5) * normal * normal - log_deviations[group] - constant
        slope = _policy_slope(log_prob, old_log_probs[i], advantages[i], settings[0], sums) * share
        for group in range(n_groups):
            normal = by_means[i, group]
            by_deviations[group] += slope * (normal * normal - np.float32(1.0))
            by_means[i, group] = slope * normal * np.exp(-log_deviations[group])
        by_values[i] = settings[2] * share * _value_slope(values[i], returns[i], sums)


@compiled(error_model="numpy")  # without its check for division by 0 the loop runs in vectors
def tanh(values: np.ndarray) -> None:
    """Hyperbolic tangent in place, (n,) float32, within 3e-7 and many times quicker than torch's. NaN stays NaN.

    Source: the rational approximation of Eigen's generic tanh (Eigen/src/Core/MathFunctionsImpl.h).
    """
    limit = np.float32(7.90531110763549805)
    for i in range(values.shape[0]):
        x = values[i]
        if x > limit:
            x = limit
        if x < -limit:
            x = -limit
        s = x * x
        above = s * np.float32(-2.76076847742355e-16) + np.float32(2.00018790482477e-13)
        above = s * above + np.float32(-8.60467152213735e-11)
        above = s * above + np.float32(5.12229709037114e-08)
        above = s * above + np.float32(1.48572235717979e-05)
        above = s * above + np.float32(6.37261928935876e-04)
        above = s * above + np.float32(4.89352455891786e-03)
        below = s * np.float32(1.19825839466702e-06) + np.float32(1.18534705686654e-04)
        below = s * below + np.float32(2.26843463243900e-03)
        below = s * below + np.float32(4.89352518554385e-03)
        values[i] = x * above / below
