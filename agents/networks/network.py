"""A whole network as it is served: encoder, body and heads, in plain torch."""

from itertools import pairwise
from typing import cast

import torch

from agents.networks.encoders import ACTIVATIONS, RecurrentEncoder, make_encoder
from agents.networks.spec import DUELING, GAUSSIAN, GAUSSIAN_CLIPPED, QUANTILES, HeadSpec, NetworkSpec

LOG_DEVIATION_MIN, LOG_DEVIATION_MAX = -20.0, 2.0  # SAC's own limits, as in Stable-Baselines3


class ServedNetwork(torch.nn.Module):
    """From observations to what each action is worth, or to where the target position's distribution lies.

    Parameters by name: encoder.*, body.<i> (the Linear layers), head, and by the head's kind deviation_head,
    log_deviation or value_head. n_features, n_own: of all instruments together.
    """

    def __init__(self, network: NetworkSpec, head: HeadSpec, n_features: int, n_own: int) -> None:
        super().__init__()
        self.encoder = make_encoder(network, n_features, n_own)
        widths = (cast(int, self.encoder.n_outputs), *network.hidden)
        self.body = torch.nn.ModuleList(torch.nn.Linear(n_in, n_out) for n_in, n_out in pairwise(widths))
        self.activation = ACTIVATIONS[network.activation]()
        self.kind, self.n_actions, self.n_quantiles = head.kind, head.n_actions, head.n_quantiles
        self.head = torch.nn.Linear(widths[-1], head.n_scores * head.n_quantiles)
        if head.kind == GAUSSIAN:
            self.deviation_head = torch.nn.Linear(widths[-1], head.n_instruments)
        elif head.kind == GAUSSIAN_CLIPPED:
            self.log_deviation = torch.nn.Parameter(torch.zeros(head.n_instruments))
        elif head.kind == DUELING:
            self.value_head = torch.nn.Linear(widths[-1], 1)

    @property
    def n_memory(self) -> int:
        """Numbers remembered from one bar to the next; 0 for a network without a memory."""
        return self.encoder.n_memory if isinstance(self.encoder, RecurrentEncoder) else 0

    def forward(self, rows: torch.Tensor, memory: torch.Tensor | None = None) -> torch.Tensor:
        """Scores (B, n_scores), instrument by instrument: logits, values, or centres before squashing; see step."""
        return self.step(rows, memory)[0]

    def step(
        self, rows: torch.Tensor, memory: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """One decision of B agents.

        rows: (B, inputs); memory: (B, n_memory), None where nothing is remembered yet.
        Returns: scores (B, n_scores), logarithms of the standard deviations before squashing (B, instruments) if the
        head has them, memory after.
        """
        after = None
        if isinstance(self.encoder, RecurrentEncoder):
            values, after = self.encoder.step(
                rows, rows.new_zeros(len(rows), self.n_memory) if memory is None else memory
            )
        else:
            values = self.encoder(rows)
        for layer in self.body:
            values = self.activation(layer(values))
        return self._scores(values), self._log_deviation(values), after

    def _scores(self, values: torch.Tensor) -> torch.Tensor:
        scores = self.head(values)
        if self.kind == QUANTILES:
            return scores.view(-1, self.n_quantiles, self.n_actions).mean(dim=1)
        if self.kind == DUELING:
            return self.value_head(values) + scores - scores.mean(dim=1, keepdim=True)
        return scores

    def _log_deviation(self, values: torch.Tensor) -> torch.Tensor | None:
        if self.kind == GAUSSIAN:
            return self.deviation_head(values).clamp(LOG_DEVIATION_MIN, LOG_DEVIATION_MAX)
        if self.kind == GAUSSIAN_CLIPPED:
            return self.log_deviation.expand(len(values), -1)
        return None
