import copy

import pytest
import torch

from agents.learners.flat import FlatParameters


def test_adam_over_one_vector_gives_the_numbers_of_torch_and_goes_on_from_its_state():
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1.0, 1.0, 7)) for _ in range(2))
    flat = FlatParameters([ours])
    adam = flat.adam(1e-2, 1e-5)
    other = torch.optim.Adam([theirs], lr=1e-2, eps=1e-5, fused=True)
    n_heard: list[int] = []
    adam.register_step_post_hook(lambda *ignored: n_heard.append(1))
    for number in range(6):
        if number == 3:  # either takes over the other's state
            mine, yours = copy.deepcopy(adam.state_dict()["state"]), copy.deepcopy(other.state_dict()["state"])
            adam.load_state_dict({"state": yours, "param_groups": adam.state_dict()["param_groups"]})
            other.load_state_dict({"state": mine, "param_groups": other.state_dict()["param_groups"]})
        gradient = torch.randn(7)
        flat.gradient.copy_(gradient)
        theirs.grad = gradient
        adam.step()
        other.step()
    assert torch.equal(ours.data, theirs.data)
    assert len(n_heard) == 6
    with pytest.raises(ValueError, match="closure"):
        adam.step(lambda: 0.0)
