"""Where a learning runs: processor, graphics card or TPU, and how exactly it calculates there. Pure."""

import importlib.util
import logging
import os
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass

import torch

from agents import algorithms
from agents.algorithms.registry import TPU
from agents.networks.spec import ANE, LSTM, MLP, RECURRENT, TCN
from core.database.locations import local_dir

CPU, CUDA = "cpu", "cuda"
BACKENDS = (CPU, CUDA, TPU)
# Networks large enough for 16-bit arithmetic to pay; a small MLP is not, and keeps float32.
LARGE_NETWORKS = (LSTM, TCN, ANE, RECURRENT)
TPU_PACKAGES = ("jax", "sbx")
# Whose versions decide the last digits there, besides those of every learning.
TPU_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "sbx-rl", "tfp-nightly")
# XLA reads it once, at its start.
XLA_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"
JAX_CACHE_BYTES = 256 << 20  # of compiled code kept on disk; a learner's is about 1 MB
# cuBLAS is only repeatable with a workspace of its own; it reads this once, at its start.
CUBLAS_WORKSPACE = ":4096:8"


class BackendMissing(RuntimeError):
    """The backend that was asked for is not on this machine or not for this algorithm; choose another."""


@dataclass(frozen=True)
class Precision:
    """How networks calculate. dtype: of their inner products; None for float32 throughout."""

    device: str = CPU
    dtype: torch.dtype | None = None

    def autocast(self) -> AbstractContextManager[object]:
        """Within it torch uses the dtype where that is safe."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.device, dtype=self.dtype)

    def scaler(self) -> torch.amp.GradScaler:
        """Keeps small float16 gradients from vanishing; does nothing for the other types."""
        return torch.amp.GradScaler(self.device, enabled=self.dtype is torch.float16)


def check(backend: str, algorithm: str, network: str = MLP) -> None:
    """Refuse a backend that cannot be used. network: the kind. Raises: BackendMissing with one clear line."""
    if backend not in BACKENDS:
        raise BackendMissing(f"unknown backend {backend!r}; expected one of {', '.join(BACKENDS)}")
    able = algorithms.get(algorithm).backends
    if backend not in able:
        raise BackendMissing(f"{algorithms.label(algorithm)} cannot run on {backend}; it runs on {', '.join(able)}")
    if backend == CUDA and not torch.cuda.is_available():
        raise BackendMissing(
            "backend cuda: no NVIDIA GPU can be used here; choose cpu, or install a CUDA build of torch"
        )
    if backend == TPU and (missing := [name for name in TPU_PACKAGES if importlib.util.find_spec(name) is None]):
        raise BackendMissing(
            f"backend tpu: {' and '.join(missing)} missing; install the extra: pip install '.[tpu]' -c constraints.txt"
        )
    check_network(backend, network)


def check_network(backend: str, network: str) -> None:
    """Refuse a kind of network that a backend does not have. Raises: BackendMissing with one clear line."""
    if backend == TPU and network != MLP:
        raise BackendMissing(f"backend tpu learns {MLP} networks only, not {network}; choose cpu or cuda, or an {MLP}")


def device_of(backend: str) -> str:
    """What torch calls it; a tpu learner's torch part runs on the processor."""
    return CUDA if backend == CUDA else CPU


def prepare(backend: str, n_threads: int = 1) -> None:
    """Set torch up for repeatable numbers; call it before the first network is made."""
    torch.set_num_threads(n_threads)
    if backend == TPU:
        _prepare_jax(n_threads)
    if backend != CUDA:
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", CUBLAS_WORKSPACE)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    torch.set_float32_matmul_precision("high")  # TF32


def _prepare_jax(n_threads: int) -> None:
    """Before JAX is first imported; what the user has set stays."""
    if n_threads == 1:
        os.environ.setdefault("XLA_FLAGS", XLA_ONE_THREAD)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # It warns of every device that it does not find; jax_device says which one it found.
    logging.getLogger("jax._src.xla_bridge").setLevel(logging.ERROR)
    folder = local_dir() / "jax"
    with suppress(OSError):  # compiling anew takes ten seconds a learning, but works
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            for name, value in (("DIR", str(folder)), ("MAX_SIZE", str(JAX_CACHE_BYTES))):
                os.environ.setdefault(f"JAX_COMPILATION_CACHE_{name}", value)
            os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def jax_device() -> str:
    """What JAX found to run on, in words, such as "JAX runs on the CPU". Needs the extra; takes seconds at first."""
    import jax

    device = jax.devices()[0]
    kind = device.device_kind
    name = device.platform.upper()
    return f"JAX runs on the {name}" + ("" if kind.upper() == name else f" ({kind})")


def libraries(backend: str) -> tuple[str, ...]:
    """Packages whose versions decide a learning's numbers there, besides those of every learning."""
    return TPU_LIBRARIES if backend == TPU else ()


def precision_of(backend: str, network: str) -> Precision:
    """16-bit for the larger networks on a graphics card, float32 for all else. network: the kind, such as ane."""
    if backend != CUDA or network not in LARGE_NETWORKS:
        return Precision(device_of(backend))
    return Precision(CUDA, torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16)
