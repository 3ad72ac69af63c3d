"""A learner's state as plain numpy arrays by name and back, bit for bit: networks, optimisers, random generators. Pure.

Names are paths such as "weights/body.0.weight". Nothing is pickled, so a file from elsewhere can do no harm.
"""

import json
import random
from typing import Any

import numpy as np
import torch

Arrays = dict[str, np.ndarray]


def module_arrays(module: torch.nn.Module, name: str) -> Arrays:
    """Parameters and buffers, copied."""
    return {f"{name}/{key}": tensor.detach().cpu().numpy().copy() for key, tensor in module.state_dict().items()}


def restore_module(module: torch.nn.Module, arrays: Arrays, name: str) -> None:
    """The reverse; tensors are filled in place. Raises: ValueError if names or shapes differ."""
    wanted, found = module.state_dict(), part(arrays, name)
    if set(wanted) != set(found):
        raise ValueError(f"{name}: tensors {sorted(found)} arrived, expected {sorted(wanted)}; start anew")
    with torch.no_grad():
        for key, tensor in wanted.items():
            if tuple(tensor.shape) != found[key].shape:
                raise ValueError(f"{name}/{key} has shape {found[key].shape}, expected {tuple(tensor.shape)}")
            tensor.copy_(torch.from_numpy(found[key].copy()))


def optimiser_arrays(optimiser: torch.optim.Optimizer, name: str) -> Arrays:
    """What the optimiser remembers of every parameter, and its present learning rates."""
    found: Arrays = {}
    for number, values in optimiser.state_dict()["state"].items():
        for key, value in values.items():
            if isinstance(value, torch.Tensor):
                found[f"{name}/{number}/{key}"] = value.detach().cpu().numpy().copy()
            else:
                found[f"{name}/{number}/{key}#"] = np.array(value)
    found[f"{name}/rates"] = np.array([float(group["lr"]) for group in optimiser.param_groups])
    return found


def restore_optimiser(optimiser: torch.optim.Optimizer, arrays: Arrays, name: str) -> None:
    """The reverse of optimiser_arrays."""
    found, state = part(arrays, name), dict[int, dict[str, Any]]()
    rates = found.pop("rates")
    for path, array in found.items():
        number, key = path.split("/", 1)
        value: Any = array.item() if key.endswith("#") else torch.from_numpy(array.copy())
        state.setdefault(int(number), {})[key.rstrip("#")] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    for group, rate in zip(optimiser.param_groups, rates.tolist(), strict=True):
        group["lr"] = rate


def random_arrays(name: str = "random") -> Arrays:
    """The process's generators: torch's, numpy's and Python's own."""
    key, words, position, has_gauss, gauss = np.random.get_state()  # Stable-Baselines3 draws from it
    version, internal, spare = random.getstate()
    found = {
        f"{name}/torch": torch.get_rng_state().numpy().copy(),
        f"{name}/numpy": np.array(words),
        f"{name}/numpy_rest": np.array([position, has_gauss], dtype=np.int64),
        f"{name}/numpy_gauss": np.array(gauss),
        f"{name}/python": np.array(internal, dtype=np.uint64),
        f"{name}/python_rest": text_array({"key": key, "version": version, "spare": spare}),
    }
    if torch.cuda.is_available():
        found[f"{name}/cuda"] = torch.cuda.get_rng_state().numpy().copy()
    return found


def restore_random(arrays: Arrays, name: str = "random") -> None:
    """The reverse of random_arrays."""
    found = part(arrays, name)
    rest = text_of(found["python_rest"])
    position, has_gauss = found["numpy_rest"].tolist()
    torch.set_rng_state(torch.from_numpy(found["torch"].copy()))
    np.random.set_state((rest["key"], found["numpy"], position, has_gauss, float(found["numpy_gauss"])))
    random.setstate((rest["version"], tuple(found["python"].tolist()), rest["spare"]))
    if "cuda" in found and torch.cuda.is_available():
        torch.cuda.set_rng_state(torch.from_numpy(found["cuda"].copy()))


def generator_array(generator: np.random.Generator) -> np.ndarray:
    """A numpy generator's state, uint8."""
    return text_array(generator.bit_generator.state)


def restore_generator(generator: np.random.Generator, array: np.ndarray) -> None:
    """The reverse of generator_array."""
    generator.bit_generator.state = text_of(array)


def text_array(value: Any) -> np.ndarray:
    """Plain values as JSON text in a uint8 array; floats survive exactly."""
    return np.frombuffer(json.dumps(value, default=_plain).encode(), dtype=np.uint8).copy()


def text_of(array: np.ndarray) -> Any:
    """The reverse of text_array."""
    return json.loads(array.tobytes())


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no plain value; keep it as an array of its own")


def part(arrays: Arrays, name: str) -> Arrays:
    """The arrays under a name, without it."""
    return {path[len(name) + 1 :]: array for path, array in arrays.items() if path.startswith(f"{name}/")}


def under(name: str, arrays: Arrays) -> Arrays:
    """The arrays put under a name, copied."""
    return {f"{name}/{path}": np.array(array) for path, array in arrays.items()}
