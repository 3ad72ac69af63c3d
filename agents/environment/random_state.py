"""Random numbers for compiled code, one small state per copy, so that every copy draws by itself and can be stored.

A state is one 64-bit number. Whatever the number of threads or of other copies, a copy draws the same.
Source: splitmix64, Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
"""

import numpy as np

from core.simulation.compiled import compiled, inlined

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31, _11 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(11)


def new_states(seed: int, n: int) -> np.ndarray:
    """States (n,) uint64 of n copies; equal seeds give equal ones. Raises: ValueError for a seed below 0."""
    if seed < 0:
        raise ValueError(f"a seed must be at least 0, got {seed}")
    return np.random.SeedSequence(seed).generate_state(n, np.uint64)


@inlined
def next_bits(states: np.ndarray, i: int) -> np.uint64:
    """64 random bits; the state at place i moves on."""
    states[i] += _STEP
    z = states[i]
    z = (z ^ (z >> _30)) * _FIRST
    z = (z ^ (z >> _27)) * _SECOND
    return z ^ (z >> _31)


@inlined
def uniform(states: np.ndarray, i: int) -> float:
    """A number from 0 up to but not including 1, of 53 bits."""
    return float(next_bits(states, i) >> _11) * 2.0**-53


@inlined
def below(states: np.ndarray, i: int, n: int) -> int:
    """A whole number from 0 to n - 1; n at least 1 and far below 2**53."""
    return min(int(uniform(states, i) * n), n - 1)


@compiled
def draw(states: np.ndarray, i: int, n: int) -> np.ndarray:
    """n numbers from 0 to 1 of the state at place i, (n,): what compiled code would get one by one."""
    found = np.empty(n)
    for k in range(n):
        found[k] = uniform(states, i)
    return found
