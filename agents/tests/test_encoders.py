import numpy as np
import pytest
import torch
from torch.nn import functional

from agents.networks.encoders import make_encoder
from agents.networks.network import ServedNetwork
from agents.networks.spec import HeadSpec, NetworkSpec
from agents.tests.networks import NETWORKS, random_weights

N_FEATURES, N_OWN = 5, 3
WINDOW_KINDS = ("lstm", "tcn", "ane")


def encoder(spec: NetworkSpec, seed: int = 0) -> torch.nn.Module:
    """A filled encoder in float64."""
    network = ServedNetwork(spec, HeadSpec("gaussian"), N_FEATURES, N_OWN)
    network.load_state_dict(random_weights(spec, HeadSpec("gaussian"), N_FEATURES, N_OWN, seed))
    return network.encoder.double()


def observations(window: int, n: int = 6, seed: int = 0) -> torch.Tensor:
    """(n, window * N_FEATURES + N_OWN) normal numbers."""
    found = np.random.default_rng(seed).normal(size=(n, window * N_FEATURES + N_OWN))
    return torch.as_tensor(found)


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_encoder_gives_as_many_numbers_as_it_says_and_hands_own_state_on(kind):
    spec = NETWORKS[kind]
    found, rows = make_encoder(spec, N_FEATURES, N_OWN).double(), observations(spec.window)
    assert found(rows).shape == (6, found.n_outputs)
    if kind != "recurrent":
        torch.testing.assert_close(found(rows)[:, -N_OWN:], rows[:, -N_OWN:])


@pytest.mark.parametrize("kind", WINDOW_KINDS)
def test_every_bar_of_the_window_matters(kind):
    spec = NetworkSpec(kind, window=19, options={"layers": 1} if kind == "ane" else {})
    rows = observations(19).requires_grad_()
    encoder(spec)(rows)[:, :-N_OWN].square().sum().backward()
    seen = rows.grad[:, : 19 * N_FEATURES].reshape(6, 19, N_FEATURES).abs().sum(dim=2)
    assert (seen > 1e-12).all()


@pytest.mark.parametrize("kernel", [2, 3, 5])
@pytest.mark.parametrize("window", [1, 2, 3, 5, 8, 13, 32, 33])
def test_the_tcn_is_dilated_causal_convolutions_at_every_bar(kernel, window):
    """Against torch's own convolutions with dilation 1, 2, 4, ... at all bars, zeros before the first."""
    spec = NetworkSpec("tcn", window=window, options={"kernel": kernel, "channels": 4})
    found, rows = encoder(spec), observations(window)
    values = found.inputs(found.rows(rows)).transpose(1, 2)
    for level, layer in enumerate(found.levels):
        padded = functional.pad(values, ((kernel - 1) * 2**level, 0))
        taps = layer.taps.weight.view(4, kernel, 4).transpose(1, 2)
        seen = functional.conv1d(padded, taps, layer.taps.bias, dilation=2**level)
        values = values + layer.mix(torch.tanh(seen).transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(found(rows)[:, :4], values[:, :, -1])


def test_the_lstm_is_torchs_own_over_the_window_by_hand():
    """One cell written out: i, f, g, o gates, oldest bar first."""
    spec = NetworkSpec("lstm", window=4, options={"size": 3})
    found, rows = encoder(spec), observations(4, n=1)
    lstm = found.lstm
    hidden, cell = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for row in found.rows(rows)[0]:
        gates = lstm.weight_ih_l0 @ row + lstm.bias_ih_l0 + lstm.weight_hh_l0 @ hidden + lstm.bias_hh_l0
        i, f, g, o = gates.split(3)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        hidden = torch.sigmoid(o) * torch.tanh(cell)
    torch.testing.assert_close(found(rows)[0, :3], hidden)


@pytest.mark.parametrize("n_layers", [1, 2])
def test_the_recurrent_memory_carries_what_a_run_over_all_bars_would_know(n_layers):
    spec = NetworkSpec("recurrent", options={"size": 4, "layers": n_layers})
    found, bars = encoder(spec), observations(1, n=30).reshape(10, 3, -1)  # ten bars of three agents
    whole, _ = found.lstm(bars)
    memory = torch.zeros(3, found.n_memory, dtype=torch.float64)
    for bar, expected in zip(bars, whole, strict=True):
        out, memory = found.step(bar, memory)
        torch.testing.assert_close(out, expected)
    # Agents are apart: the second one's memory is what it would have alone.
    alone = torch.zeros(1, found.n_memory, dtype=torch.float64)
    for bar in bars:
        _, alone = found.step(bar[1:2], alone)
    torch.testing.assert_close(memory[1:2], alone)


@pytest.mark.parametrize("kind", WINDOW_KINDS)
def test_mixed_precision_gives_about_the_same_and_learns(kind):
    spec = NETWORKS[kind]
    network = ServedNetwork(spec, HeadSpec("logits", 3), N_FEATURES, N_OWN)
    network.load_state_dict(random_weights(spec, HeadSpec("logits", 3), N_FEATURES, N_OWN))
    rows = observations(spec.window, n=64).float()
    exact = network(rows)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = network(rows)
        loss = rough.float().square().mean()
    loss.backward()
    assert (rough.float() - exact).abs().max() < 0.1
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())
