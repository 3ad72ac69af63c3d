import random

import numpy as np
import pytest
import torch

from agents.learners import state


def _draws():
    return torch.rand(3).tolist(), np.random.random(3).tolist(), np.random.randn(), random.random(), random.gauss(0, 1)


def test_all_generators_go_on_where_they_were():
    np.random.randn()  # leaves a spare normal number behind
    random.gauss(0, 1)
    kept = state.random_arrays()
    expected = _draws()
    _draws()
    state.restore_random(kept)
    assert _draws() == expected


def test_a_numpy_generator_goes_on_where_it_was():
    generator = np.random.default_rng(3)
    generator.random(5, dtype=np.float32)
    kept = state.generator_array(generator)
    expected = generator.random(7).tolist()
    other = np.random.default_rng(99)
    state.restore_generator(other, kept)
    assert other.random(7).tolist() == expected


@pytest.mark.parametrize("make", [
    lambda parameters: torch.optim.Adam(parameters, lr=0.1),
    lambda parameters: torch.optim.Adam(parameters, lr=0.1, fused=True),
    lambda parameters: torch.optim.RMSprop(parameters, lr=0.1, momentum=0.5),
])  # fmt: skip
def test_a_network_and_its_optimiser_go_on_bit_for_bit(make):
    rows = torch.randn(8, 3)

    def steps(layer, optimiser, n):
        for _ in range(n):
            optimiser.zero_grad()
            layer(rows).square().mean().backward()
            optimiser.step()

    layer = torch.nn.Linear(3, 2)
    optimiser = make(layer.parameters())
    steps(layer, optimiser, 3)
    optimiser.param_groups[0]["lr"] = 0.05
    kept = state.module_arrays(layer, "weights") | state.optimiser_arrays(optimiser, "optimiser")
    steps(layer, optimiser, 3)
    other = torch.nn.Linear(3, 2)
    others = make(other.parameters())
    state.restore_module(other, kept, "weights")
    state.restore_optimiser(others, kept, "optimiser")
    steps(other, others, 3)
    assert torch.equal(layer.weight, other.weight)
    assert torch.equal(layer.bias, other.bias)


def test_another_networks_tensors_are_refused():
    kept = state.module_arrays(torch.nn.Linear(3, 2), "weights")
    with pytest.raises(ValueError, match=r"weights/weight has shape \(2, 3\), expected \(2, 4\)"):
        state.restore_module(torch.nn.Linear(4, 2), kept, "weights")
    with pytest.raises(ValueError, match="start anew"):
        state.restore_module(torch.nn.Linear(3, 2, bias=False), kept, "weights")
