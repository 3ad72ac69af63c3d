"""Functions of whole float32 arrays that run in vectors, which numba's own and torch's do not everywhere. In place.

They are compiled without a check for division by 0, or the loops would not run in vectors, and with products and sums
in one instruction where the processor has it. NaN stays NaN.
"""

import numpy as np

from core.simulation.compiled import compiled

# exp(x) = 2^k * exp(r) with k whole and |r| <= log(2) / 2; log(2) in two parts, the first exact in k times it.
LOG2_E, LOG_2_HIGH, LOG_2_LOW = 1.44269504088896341, 0.693359375, -2.12194440e-4
LEAST_EXPONENT, MOST_EXPONENT = -87.0, 88.0  # beyond them float32 has no normal numbers
BIAS, MANTISSA = 127, 23  # of a float32's bits


@compiled(error_model="numpy", fastmath={"contract"})
def tanh(values: np.ndarray) -> None:
    """Hyperbolic tangent, (n,), within 3e-7 and many times quicker than torch's.

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


@compiled(error_model="numpy", fastmath={"contract"})
def exp(values: np.ndarray) -> None:
    """Exponential function, (n,), within 2e-7 of the value; it ends at exp(-87) and exp(88).

    Source: Cephes' expf (Moshier, 1989).
    """
    powers = np.empty(values.shape[0], np.int32)
    for i in range(values.shape[0]):
        x = values[i]
        if x < np.float32(LEAST_EXPONENT):
            x = np.float32(LEAST_EXPONENT)
        if x > np.float32(MOST_EXPONENT):
            x = np.float32(MOST_EXPONENT)
        k = np.floor(x * np.float32(LOG2_E) + np.float32(0.5))
        r = x - k * np.float32(LOG_2_HIGH) - k * np.float32(LOG_2_LOW)
        found = np.float32(1.9875691500e-4) * r + np.float32(1.3981999507e-3)
        found = found * r + np.float32(8.3334519073e-3)
        found = found * r + np.float32(4.1665795894e-2)
        found = found * r + np.float32(1.6666665459e-1)
        found = found * r + np.float32(5.0000001201e-1)
        values[i] = found * r * r + r + np.float32(1.0)
        powers[i] = (np.int32(k) + np.int32(BIAS)) << np.int32(MANTISSA)
    factors = powers.view(np.float32)
    for i in range(values.shape[0]):
        values[i] *= factors[i]
