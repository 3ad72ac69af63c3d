"""What a training can run on here, in one line each. Looks first where it costs nothing: pages need no torch."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from agents import algorithms
from agents.algorithms.registry import TPU
from agents.networks.spec import MLP
from agents.training_pages.training_words import BACKENDS, NETWORKS, name_of

DEVICES = Path("/dev")
# What NVIDIA's driver and Windows' Linux put there for a GPU.
GPU_FILES = ("nvidia[0-9]*", "dxg")


def missing(backend: str, algorithm: str) -> str:
    """One sentence about what is missing for this backend and algorithm; empty when nothing is seen to be."""
    found = algorithms.all_algorithms().get(algorithm)
    if found is not None and backend not in found.backends:
        able = " or ".join(BACKENDS.get(name, name) for name in found.backends)
        return f"{found.label} runs on {able} only."
    if backend == "cuda" and not any(next(DEVICES.glob(pattern), None) for pattern in GPU_FILES):
        return "No GPU was found on this machine."
    if backend == "tpu" and (find_spec("jax") is None or find_spec("sbx") is None):
        return "The TPU needs the optional extra [tpu], which is not installed."
    return ""


def unfit(backend: str, network: str) -> str:
    """One sentence if a backend does not have this kind of network, as runs/backends.py would refuse it later."""
    if backend != TPU or network == MLP:
        return ""
    return f"The TPU learns {name_of(NETWORKS, MLP)} only; choose that as the network, or another backend."


def refused(backend: str, algorithm: str, network: str = MLP) -> str:
    """As missing and unfit, but for a GPU that is there the learning libraries are asked too."""
    return (
        missing(backend, algorithm)
        or unfit(backend, network)
        or ("" if backend != "cuda" else _asked(backend, algorithm))
    )


def lines(algorithm: str) -> list[str]:
    """What is missing, for every backend of which something is missing."""
    found = [(BACKENDS[name], missing(name, algorithm)) for name in ("cuda", "tpu")]
    return [line if label in line else f"{label}: {line}" for label, line in found if line]


@cache
def _asked(backend: str, algorithm: str) -> str:
    """What the learning libraries themselves say; asked once per process, because asking imports them."""
    from agents.runs.backends import BackendMissing, check

    try:
        check(backend, algorithm)
    except BackendMissing as error:
        text = str(error).strip()
        return f"{text[:1].upper()}{text[1:].rstrip('.')}."
    return ""
