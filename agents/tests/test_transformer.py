import math

import numpy as np
import pytest
import torch

from agents.networks.spec import HeadSpec, NetworkSpec
from agents.networks.transformer import QUIET, Transformer
from agents.policies.policy import ServedPolicy
from agents.tests import networks
from agents.tests.test_encoders import N_FEATURES, encoder, observations

W = 12


def spec(**options: int) -> NetworkSpec:
    return NetworkSpec("ane", (16,), "tanh", W, {"size": 16, "heads": 4, "layers": 2, **options})


def tokens(found: Transformer, rows: torch.Tensor) -> torch.Tensor:
    """Tokens (B, W, size) after the last block."""
    values, level, surprise = found._begin(found.rows(rows))
    for block in found.blocks:
        values = block(values, level, surprise)
    return values


@pytest.mark.parametrize("options", [{}, {"return_column": 2}])
def test_a_bars_token_hangs_on_no_later_bar(options):
    found, rows = encoder(spec(**options)), observations(W)
    other = rows.clone()
    other[:, 7 * N_FEATURES : W * N_FEATURES] += 1.0  # bars 7 and later are others
    before, after = tokens(found, rows), tokens(found, other)
    torch.testing.assert_close(before[:, :7], after[:, :7], rtol=0, atol=0)
    assert (before[:, 7:] - after[:, 7:]).abs().amax(dim=(0, 2)).min() > 1e-3


@torch.no_grad()
def test_attention_is_what_the_formula_says():
    """softmax over the bars so far of q·k / sqrt(d) · exp(s · tanh(surprise)) + favour · level, head by head."""
    found, rows = encoder(spec(layers=1, return_column=2)), observations(W, n=1)
    block = found.blocks[0]
    block.attention.sharpness.copy_(torch.tensor([0.5, -0.5, 0.2, 0.0]))
    returns = found.rows(rows)[0, :, 2].numpy()
    level = np.array([0.5 * math.log((returns[max(0, t - 3) : t + 1] ** 2).mean() + QUIET) for t in range(W)])
    surprise = level - np.cumsum(level) / np.arange(1, W + 1)
    values = found.inputs(found.rows(rows)) + found.ages(found.rows(rows))
    normal = block.before_attention(values)[0]
    queries, keys = block.attention.queries_keys(normal).numpy().reshape(W, 2, 4, 3).transpose(1, 2, 0, 3)
    contents = block.attention.values(normal).numpy().reshape(W, 4, 4).transpose(1, 0, 2)
    seen = np.zeros((W, 4, 4))
    for head in range(4):
        favour, sharpness = (getattr(block.attention, n)[head].item() for n in ("favour", "sharpness"))
        for i in range(W):
            sharp = math.exp(sharpness * math.tanh(surprise[i])) / 2.0
            logits = keys[head, : i + 1] @ queries[head, i] * sharp + favour * level[: i + 1]
            shares = np.exp(logits) / np.exp(logits).sum()
            seen[i, head] = shares @ contents[head, : i + 1]
            if i == W - 1:
                np.testing.assert_allclose(found.looks(rows)[0, head], shares, rtol=1e-6)
    level_t, surprise_t = found.volatility(found.rows(rows))
    got = block.attention(normal[None], level_t, surprise_t)
    torch.testing.assert_close(got[0], block.attention.out(torch.as_tensor(seen.reshape(W, 16))), rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_without_a_return_column_volatility_is_how_much_all_features_change():
    found, rows = encoder(spec()), observations(W, n=1)
    level, _ = found.volatility(found.rows(rows))
    values = found.rows(rows)[0].numpy()
    changes = np.concatenate([[0.0], (np.diff(values, axis=0) ** 2).mean(axis=1)])
    expected = [0.5 * math.log(changes[max(0, t - 3) : t + 1].mean() + QUIET) for t in range(W)]
    np.testing.assert_allclose(level[0], expected, rtol=1e-6)


@torch.no_grad()
def test_ages_are_bars_or_real_time_where_the_features_tell_it():
    plain, rows = encoder(spec()), observations(W, n=2)
    assert plain.ages.of_bars(plain.rows(rows))[0].tolist() == list(range(W - 1, -1, -1))
    clock = encoder(spec(elapsed_column=1))
    clock.ages.pace.copy_(torch.tensor([math.log(math.e - 1.0), 0.5]))
    quiet = torch.zeros_like(rows)
    np.testing.assert_allclose(clock.ages.of_bars(clock.rows(quiet))[0], range(W - 1, -1, -1), atol=1e-6)
    # A long break before the newest bar makes all the others older, by the same amount.
    quiet[:, (W - 1) * N_FEATURES + 1] = 3.0
    longer = math.log1p(math.exp(math.log(math.e - 1.0) + 1.5)) - 1.0
    np.testing.assert_allclose(
        clock.ages.of_bars(clock.rows(quiet))[0], [*(np.arange(W - 1, 0, -1) + longer), 0.0], atol=1e-6
    )


def served(**options: int) -> ServedPolicy:
    return networks.policy(spec(**options), HeadSpec("logits", 3))


def test_the_attention_of_a_decision_is_shares_of_the_windows_bars():
    policy = served(return_column=3)
    row = np.random.default_rng(0).normal(size=policy.n_inputs).astype(np.float32)
    found = policy.attention(row)
    assert np.shape(found["heads"]) == (4, W)
    np.testing.assert_allclose(np.sum(found["heads"], axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(found["bars"], np.mean(found["heads"], axis=0), atol=1e-12)
    other = networks.policy(networks.NETWORKS["tcn"], HeadSpec("q", 3))
    assert other.attention(np.zeros(other.n_inputs, np.float32)) is None


def test_a_turbulent_bar_draws_the_heads_that_favour_turbulence_and_repels_the_others():
    """Only volatility differs: keys of zero weight, so that what a bar says plays no part."""
    policy = served(layers=1, return_column=3)
    attention = policy.layers.encoder.blocks[0].attention
    attention.queries_keys.weight.zero_()
    attention.queries_keys.bias.zero_()
    attention.favour.copy_(torch.tensor([1.0, -1.0, 0.0, 2.0]))
    calm = np.zeros(policy.n_inputs, np.float32)
    np.testing.assert_allclose(policy.attention(calm)["heads"], 1 / W, atol=1e-6)
    wild = calm.copy()
    wild[5 * 6 + 3] = 3.0  # bar 5: a return of three standard deviations; bars 5 to 8 are turbulent
    heads = np.array(policy.attention(wild)["heads"])
    np.testing.assert_allclose(heads[2], 1 / W, atol=1e-6)
    # exp(favour * level): level is half the log of 9/4 + 0.01 there and of 0.01 elsewhere.
    ratio = math.sqrt((9 / 4 + QUIET) / QUIET)
    for head, favour in ((0, 1.0), (1, -1.0), (3, 2.0)):
        turbulent = heads[head, 5:9]
        np.testing.assert_allclose(turbulent, turbulent[0], rtol=1e-4)
        assert turbulent[0] / heads[head, 0] == pytest.approx(ratio**favour, rel=1e-4)
