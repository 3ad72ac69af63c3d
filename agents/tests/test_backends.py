import importlib.util

import pytest
import torch

from agents.runs import backends
from agents.runs.backends import BackendMissing, Precision


def test_what_is_there_passes():
    backends.check("cpu", "ppo")


def test_a_missing_gpu_is_one_clear_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendMissing, match=r"^backend cuda: no NVIDIA GPU can be used here; choose cpu"):
        backends.check("cuda", "ppo")


def test_a_missing_extra_is_one_clear_line(monkeypatch):
    able = backends.algorithms.get("ppo")
    monkeypatch.setattr(backends.algorithms, "get", lambda name: _with_tpu(able))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendMissing, match=r"^backend tpu: jax and sbx missing; install the extra"):
        backends.check("tpu", "ppo")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    backends.check("tpu", "ppo")


def _with_tpu(algorithm):
    from dataclasses import replace

    return replace(algorithm, backends=("cpu", "cuda", "tpu"))


def test_an_algorithm_that_cannot_and_an_unknown_backend_are_named():
    with pytest.raises(BackendMissing, match=r"Recurrent PPO cannot run on tpu; it runs on cpu, cuda"):
        backends.check("tpu", "recurrent_ppo")
    with pytest.raises(BackendMissing, match=r"unknown backend 'gpu'; expected one of cpu, cuda, tpu"):
        backends.check("gpu", "ppo")


def test_only_large_networks_on_a_gpu_calculate_in_16_bits(monkeypatch):
    assert backends.precision_of("cpu", "ane") == Precision("cpu")
    assert backends.precision_of("cuda", "mlp") == Precision("cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert backends.precision_of("cuda", "ane") == Precision("cuda", torch.bfloat16)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert backends.precision_of("cuda", "lstm") == Precision("cuda", torch.float16)
    assert backends.precision_of("cuda", "recurrent").dtype is torch.float16


def test_only_float16_needs_scaled_gradients():
    assert not Precision("cpu").scaler().is_enabled()
    assert not Precision("cpu", torch.bfloat16).scaler().is_enabled()
    assert Precision("cpu", torch.float16).scaler().is_enabled()
    with Precision("cpu", torch.bfloat16).autocast():
        assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype is torch.bfloat16
    with Precision("cpu").autocast():
        assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype is torch.float32
