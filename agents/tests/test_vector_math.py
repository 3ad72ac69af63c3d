import numpy as np

from agents.learners import vector_math


def test_tanh_is_exact_to_single_precision_and_keeps_nan():
    values = np.concatenate([np.linspace(-12, 12, 20_001), [0.0, 1e-8]]).astype(np.float32)
    found = values.copy()
    vector_math.tanh(found)
    np.testing.assert_allclose(found, np.tanh(values.astype(float)), atol=4e-7)
    broken = np.array([np.nan, np.inf, -np.inf], np.float32)
    vector_math.tanh(broken)
    assert np.isnan(broken[0])
    np.testing.assert_allclose(broken[1:], [1.0, -1.0], atol=1e-6)


def test_exp_is_exact_to_single_precision_and_keeps_nan():
    values = np.concatenate([np.linspace(-87, 88, 200_001), [0.0, 1e-8]]).astype(np.float32)
    found = values.copy()
    vector_math.exp(found)
    np.testing.assert_allclose(found, np.exp(values.astype(float)), rtol=2e-7)
    broken = np.array([np.nan, np.inf, -np.inf, 100.0], np.float32)
    vector_math.exp(broken)
    assert np.isnan(broken[0])
    np.testing.assert_allclose(broken[1:], [np.exp(88.0), np.exp(-87.0), np.exp(88.0)], rtol=2e-7)
