"""Encoders: from an observation to the numbers that a network's body starts from.

An observation is (window * n_features + n_own,): the rows of features, oldest bar first, then the agent's own state.
An encoder over the window sums the rows up; own state goes past it, for only its newest value is known.
"""

from abc import ABC, abstractmethod

import torch

from agents.networks.spec import LSTM, MLP, RECURRENT, TCN, NetworkSpec

ACTIVATIONS: dict[str, type[torch.nn.Module]] = {
    "tanh": torch.nn.Tanh,
    "relu": torch.nn.ReLU,
    "gelu": torch.nn.GELU,
    "silu": torch.nn.SiLU,
}


class WindowEncoder(torch.nn.Module, ABC):
    """Cuts an observation into window and own state, and joins the window's summary with the own state again.

    A kind of encoder says what the summary (B, n_summary) of a window (B, W, n_features) is.
    """

    def __init__(self, network: NetworkSpec, n_features: int, n_own: int, n_summary: int) -> None:
        super().__init__()
        self.window, self.n_features, self.n_own = network.window, n_features, n_own
        self.n_outputs = n_summary + n_own

    def rows(self, observations: torch.Tensor) -> torch.Tensor:
        """The window (B, W, n_features) of observations (B, W * n_features + n_own)."""
        n_values = self.window * self.n_features
        return observations[:, :n_values].reshape(-1, self.window, self.n_features)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """(B, W * n_features + n_own) -> (B, n_outputs)."""
        own = observations[:, self.window * self.n_features :]
        return torch.cat([self.summary(self.rows(observations)), own], dim=1)

    @abstractmethod
    def summary(self, rows: torch.Tensor) -> torch.Tensor:
        """What the body learns of a window (B, W, n_features)."""


class IdentityEncoder(torch.nn.Module):
    """Hands an observation on as it is."""

    def __init__(self, network: NetworkSpec, n_features: int, n_own: int) -> None:
        super().__init__()
        self.n_outputs = network.window * n_features + n_own

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """(B, n_outputs), unchanged."""
        return observations


class LstmEncoder(WindowEncoder):
    """An LSTM that reads the window from its oldest bar and begins anew at every decision.

    Source: Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 1997.
    """

    def __init__(self, network: NetworkSpec, n_features: int, n_own: int) -> None:
        size, n_layers = network.options["size"], network.options["layers"]
        super().__init__(network, n_features, n_own, size)
        self.lstm = torch.nn.LSTM(n_features, size, n_layers, batch_first=True)

    def summary(self, rows: torch.Tensor) -> torch.Tensor:
        """Its output at the newest bar, (B, size)."""
        return self.lstm(rows)[0][:, -1]


class TcnEncoder(WindowEncoder):
    """Causal dilated convolutions with residual connections, as many as the window needs to be seen whole.

    Only what the newest bar's output needs is computed: level l works on every 2^l-th bar, counted from the newest.
    These are the numbers of convolutions with dilation 2^l at every bar, for a fraction of the work.
    Source: Bai, Kolter and Koltun, "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for
    Sequence Modeling", 2018.
    """

    def __init__(self, network: NetworkSpec, n_features: int, n_own: int) -> None:
        channels, kernel = network.options["channels"], network.options["kernel"]
        super().__init__(network, n_features, n_own, channels)
        self.inputs = torch.nn.Linear(n_features, channels)
        n_levels, reach = 0, 1
        while reach < self.window:
            reach += (kernel - 1) * 2**n_levels
            n_levels += 1
        activation = ACTIVATIONS[network.activation]
        self.levels = torch.nn.ModuleList(TcnLevel(channels, kernel, activation()) for _ in range(n_levels))

    def summary(self, rows: torch.Tensor) -> torch.Tensor:
        """The last level's output at the newest bar, (B, channels)."""
        values = self.inputs(rows)
        for level in self.levels:
            values = level(values)
        return values[:, -1]


class TcnLevel(torch.nn.Module):
    """One convolution that looks only back, an activation, a mixing of channels, and the residual."""

    def __init__(self, channels: int, kernel: int, activation: torch.nn.Module) -> None:
        super().__init__()
        self.kernel = kernel
        self.taps = torch.nn.Linear(kernel * channels, channels)  # oldest tap first
        self.activation = activation
        self.mix = torch.nn.Linear(channels, channels)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(B, T, C) -> (B, ceil(T / 2), C): the outputs at the last bar, the last but two, and so on."""
        n_bars = values.shape[1]
        skipped = (n_bars + 1) % 2  # 1 where the oldest bar is not among those kept
        # Zeros stand for the bars before the window; their number makes the last tap meet the newest bar.
        padded = torch.nn.functional.pad(values, (0, 0, self.kernel - 1 - skipped, 0))
        seen = torch.cat([padded[:, tap : tap + n_bars - skipped : 2] for tap in range(self.kernel)], dim=2)
        return values[:, skipped::2] + self.mix(self.activation(self.taps(seen)))


class RecurrentEncoder(torch.nn.Module):
    """An LSTM that remembers from bar to bar. The memory of one agent is (2 * layers * size,): hidden, then cell."""

    def __init__(self, network: NetworkSpec, n_features: int, n_own: int) -> None:
        super().__init__()
        self.n_layers, self.n_outputs = network.options["layers"], network.options["size"]
        self.lstm = torch.nn.LSTM(network.window * n_features + n_own, self.n_outputs, self.n_layers)
        self.n_memory = 2 * self.n_layers * self.n_outputs

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """(B, n) -> (B, size) of agents that remember nothing yet."""
        return self.step(observations, observations.new_zeros(len(observations), self.n_memory))[0]

    def step(self, observations: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One bar: (B, n) and memories (B, n_memory) -> outputs (B, size), memories after it."""
        n_agents, shape = len(observations), (2, self.n_layers, len(observations), self.n_outputs)
        hidden, cell = memory.T.reshape(2, self.n_layers, self.n_outputs, n_agents).transpose(2, 3).contiguous()
        out, after = self.lstm(observations[None], (hidden, cell))
        return out[0], torch.stack(after).reshape(shape).transpose(2, 3).reshape(self.n_memory, n_agents).T


def make_encoder(network: NetworkSpec, n_features: int, n_own: int) -> torch.nn.Module:
    """The encoder a network begins with: (B, window * n_features + n_own) -> (B, its n_outputs)."""
    from agents.networks.transformer import Transformer  # it is built on this module

    kinds = {MLP: IdentityEncoder, LSTM: LstmEncoder, TCN: TcnEncoder, RECURRENT: RecurrentEncoder}
    return kinds.get(network.kind, Transformer)(network, n_features, n_own)
