"""A small transformer over the window: it chooses which bars to look at, knowing their age and how turbulent they were.

Tokens of a bar depend on no later bar (causal). Four summaries go to the body: the newest bar's token, and the means
over a short, a medium and the whole stretch of the window.
Sources: Vaswani et al., "Attention Is All You Need", 2017; pre-norm: Xiong et al., "On Layer Normalization in the
Transformer Architecture", ICML 2020.
"""

import math
from typing import cast

import torch
from torch.nn import functional

from agents.networks.encoders import WindowEncoder
from agents.networks.spec import NetworkSpec

VOLATILITY_BARS = 4  # over which a bar's volatility is measured
QUIET = 0.01  # added to squared changes: below a tenth of a standard deviation a bar is simply quiet
N_FREQUENCIES = 6
ELAPSED_AT_FIRST = 0.5  # how strongly a standard deviation of elapsed time lengthens a step before anything is learned


class Transformer(WindowEncoder):
    """Tokens from the window's rows, blocks of attention, and summaries over four stretches."""

    stretches: torch.Tensor

    def __init__(self, network: NetworkSpec, n_features: int, n_own: int) -> None:
        options = network.options
        size, n_heads = options["size"], options["heads"]
        super().__init__(network, n_features, n_own, 4 * size)
        self.inputs = torch.nn.Linear(n_features, size)
        self.ages = AgeEncoding(size, network.window, options["elapsed_column"])
        self.volatility = Volatility(network.window, options["return_column"])
        self.blocks = torch.nn.ModuleList(Block(size, n_heads) for _ in range(options["layers"]))
        self.norm = torch.nn.LayerNorm(size)
        self.register_buffer("stretches", _stretches(network.window), persistent=False)

    def summary(self, rows: torch.Tensor) -> torch.Tensor:
        """(B, W, n_features) -> (B, 4 * size)."""
        tokens, level, surprise = self._begin(rows)
        for block in self.blocks:
            tokens = block(tokens, level, surprise)
        return (self.stretches.to(tokens.dtype) @ self.norm(tokens)).flatten(1)

    def looks(self, observations: torch.Tensor) -> torch.Tensor:
        """How the newest bar's token shares its attention in the last block: (B, heads, W), each summing to 1."""
        tokens, level, surprise = self._begin(self.rows(observations))
        *before, last = cast(list[Block], list(self.blocks))
        for block in before:
            tokens = block(tokens, level, surprise)
        return last.attention.looks(last.before_attention(tokens), level, surprise)

    def _begin(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        level, surprise = self.volatility(rows)
        return self.inputs(rows) + self.ages(rows), level, surprise


class AgeEncoding(torch.nn.Module):
    """What a token knows of its bar's age: sines and cosines of several periods and the logarithm.

    The age is counted in bars; where the features say how much time passed between two bars (elapsed_column), each
    step has a length that is learned from it, softplus(a + b * elapsed), 1 at first for a usual one.
    """

    frequencies: torch.Tensor
    bars: torch.Tensor

    def __init__(self, size: int, window: int, elapsed_column: int) -> None:
        super().__init__()
        self.column = elapsed_column
        self.mix = torch.nn.Linear(2 * N_FREQUENCIES + 1, size)
        # Periods from 3 bars to four windows.
        periods = 3.0 * (4.0 * max(window, 2) / 3.0) ** (torch.arange(N_FREQUENCIES) / (N_FREQUENCIES - 1))
        self.register_buffer("frequencies", 2 * math.pi / periods, persistent=False)
        self.register_buffer("bars", torch.arange(window - 1, -1, -1, dtype=torch.float32), persistent=False)
        if elapsed_column >= 0:
            self.pace = torch.nn.Parameter(torch.tensor([math.log(math.e - 1.0), ELAPSED_AT_FIRST]))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(B, W, n_features) -> (B or 1, W, size)."""
        ages = self.of_bars(rows)[..., None]
        phases = ages * self.frequencies.to(ages.dtype)
        return self.mix(torch.cat([phases.sin(), phases.cos(), torch.log1p(ages)], dim=-1))

    def of_bars(self, rows: torch.Tensor) -> torch.Tensor:
        """Age of every bar of the window, (B or 1, W), 0 for the newest."""
        if self.column < 0:
            return self.bars.to(rows.dtype)[None]
        steps = functional.softplus(self.pace[0] + self.pace[1] * rows[:, :, self.column])
        # The age of a bar is the sum of the steps to the bars after it.
        return functional.pad(steps[:, 1:].flip(1).cumsum(1).flip(1), (0, 1))


class Volatility(torch.nn.Module):
    """How turbulent the window is at each bar: the logarithm of the root mean square over the last four bars.

    Measured from the column of one bar's return where there is one, else from how much all features change from bar
    to bar, both as the network sees them (scaled).
    """

    recent: torch.Tensor
    so_far: torch.Tensor

    def __init__(self, window: int, return_column: int) -> None:
        super().__init__()
        self.column = return_column
        self.register_buffer("recent", _means(window, VOLATILITY_BARS), persistent=False)
        self.register_buffer("so_far", _means(window, window), persistent=False)

    def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, W, n_features) -> level (B, W), and how far it lies above its mean up to that bar (B, W)."""
        with torch.autocast(rows.device.type, enabled=False):
            rows = rows if rows.dtype == torch.float64 else rows.float()
            if self.column >= 0:
                squares = rows[:, :, self.column] ** 2
            else:
                changes = (rows[:, 1:] - rows[:, :-1]) ** 2
                squares = functional.pad(changes.mean(dim=2), (1, 0))
            level = 0.5 * torch.log(squares @ self.recent.to(rows.dtype).T + QUIET)
            return level, level - level @ self.so_far.to(rows.dtype).T


class Block(torch.nn.Module):
    """Attention, then two layers of its own for every token; both pre-norm with a residual."""

    def __init__(self, size: int, n_heads: int) -> None:
        super().__init__()
        self.before_attention, self.before_layers = torch.nn.LayerNorm(size), torch.nn.LayerNorm(size)
        self.attention = VolatilityAttention(size, n_heads)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(size, 2 * size), torch.nn.GELU(), torch.nn.Linear(2 * size, size)
        )

    def forward(self, tokens: torch.Tensor, level: torch.Tensor, surprise: torch.Tensor) -> torch.Tensor:
        """Tokens (B, W, size) one block later."""
        tokens = tokens + self.attention(self.before_attention(tokens), level, surprise)
        return tokens + self.layers(self.before_layers(tokens))


class VolatilityAttention(torch.nn.Module):
    """Causal self-attention whose logits know the volatility: q·k / sqrt(d) * sharpness(i) + favour * level(j).

    Per head, favour says whether turbulent bars draw attention or repel it, and sharpness(i) = exp(s * tanh(surprise))
    whether attention narrows or widens when the bar that looks is more turbulent than those before it. Of each head's
    d channels the last carries the volatility, so that no (W, W) matrix of biases is ever made.
    """

    def __init__(self, size: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads, self.n_channels = n_heads, size // n_heads
        self.queries_keys = torch.nn.Linear(size, 2 * n_heads * (self.n_channels - 1))
        self.values, self.out = torch.nn.Linear(size, size), torch.nn.Linear(size, size)
        self.favour = torch.nn.Parameter(torch.linspace(-1.0, 1.0, n_heads) if n_heads > 1 else torch.ones(1))
        self.sharpness = torch.nn.Parameter(torch.zeros(n_heads))

    def forward(self, tokens: torch.Tensor, level: torch.Tensor, surprise: torch.Tensor) -> torch.Tensor:
        """Tokens (B, W, size), level and surprise (B, W) -> (B, W, size)."""
        queries, keys = self._queries_keys(tokens, level, surprise)
        values = self._by_head(self.values(tokens))
        seen = functional.scaled_dot_product_attention(queries, keys, values.to(keys.dtype), is_causal=True, scale=1.0)
        return self.out(seen.transpose(1, 2).flatten(2))

    def looks(self, tokens: torch.Tensor, level: torch.Tensor, surprise: torch.Tensor) -> torch.Tensor:
        """Shares of the newest token's attention, (B, heads, W)."""
        queries, keys = self._queries_keys(tokens, level, surprise)
        return (queries[:, :, -1:] @ keys.transpose(2, 3)).softmax(dim=3)[:, :, 0]

    def _queries_keys(
        self, tokens: torch.Tensor, level: torch.Tensor, surprise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, heads, W, d) each: the logits are their plain products."""
        queries, keys = (self._by_head(part) for part in self.queries_keys(tokens).chunk(2, dim=2))
        sharp = torch.exp(self.sharpness[:, None] * torch.tanh(surprise)[:, None]) / math.sqrt(self.n_channels)
        bias = (self.favour[:, None] * level[:, None])[..., None]
        queries = torch.cat([queries * sharp[..., None], torch.ones_like(bias)], dim=3)
        return queries, torch.cat([keys, bias], dim=3)

    def _by_head(self, values: torch.Tensor) -> torch.Tensor:
        """(B, W, heads * d) -> (B, heads, W, d)."""
        n_rows, n_bars, _ = values.shape
        return values.view(n_rows, n_bars, self.n_heads, -1).transpose(1, 2)


def _means(window: int, n_bars: int) -> torch.Tensor:
    """(W, W): row i takes the mean over the last `n_bars` bars up to i, fewer at the beginning."""
    distance = torch.arange(window)[:, None] - torch.arange(window)[None]
    taken = ((distance >= 0) & (distance < n_bars)).float()
    return taken / taken.sum(dim=1, keepdim=True)


def _stretches(window: int) -> torch.Tensor:
    """(4, W): the newest bar, the means over the last eighth (2 bars at least), the last third and the whole window."""
    lengths = (1, max(2, round(window / 8)), max(2, round(window / 3)), window)
    ages = torch.arange(window - 1, -1, -1)
    return torch.stack([(ages < length) / min(length, window) for length in lengths])
