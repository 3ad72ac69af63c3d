"""Stops a learning as soon as a number becomes NaN or infinite, and says which one. Pure."""

import numpy as np
import torch

ADVICE = {
    "observation": "repair its bars or leave it out",
    "reward": "check the reward's weights and the prices of these bars",
    "loss": "lower the learning rate",
    "weight": "lower the learning rate",
}


class TrainingDiverged(RuntimeError):
    """A number the learning lives on became NaN or infinite; the trial is lost, other parameters may do."""


def input_names(
    features: tuple[str, ...], own: tuple[str, ...], window: int = 1, n_instruments: int = 1
) -> tuple[str, ...]:
    """Names of an observation's columns: rows of features oldest first, then the agent's own state.

    Of several instruments each row, and the own state, goes instrument by instrument.
    """
    ages = ["" if age == 0 else f" {age} bar{'s' if age > 1 else ''} before" for age in range(window - 1, -1, -1)]
    whose = [f" of instrument {i + 1}" for i in range(n_instruments)] if n_instruments > 1 else [""]
    rows = (f"{name}{of}{age}" for age in ages for of in whose for name in features)
    return (*rows, *(f"{name}{of}" for of in whose for name in own))


class Guard:
    """Looks at everything once a round. columns: names of an observation's columns, see input_names."""

    def __init__(self, columns: tuple[str, ...] = ()) -> None:
        self.columns = columns

    def observations(self, rows: np.ndarray, steps_done: int) -> None:
        """Look at observations (..., n). Raises: TrainingDiverged naming the column."""
        if not _sound(rows):
            flat = rows.reshape(-1, rows.shape[-1])
            row, column = _first_bad(flat)
            raise _diverged("observation", self._column(column), flat[row, column], steps_done)

    def rewards(self, rewards: np.ndarray, steps_done: int) -> None:
        """Look at rewards of any shape. Raises: TrainingDiverged."""
        if not _sound(rewards):
            where = _first_bad(rewards)
            raise _diverged("reward", "", rewards[where], steps_done)

    def losses(self, losses: dict[str, float], steps_done: int) -> None:
        """Look at losses by name. Raises: TrainingDiverged naming the loss."""
        for name, value in losses.items():
            if not np.isfinite(value):
                raise _diverged("loss", name, value, steps_done)

    def weights(self, module: torch.nn.Module, steps_done: int) -> None:
        """Look at a network's parameters. Raises: TrainingDiverged naming the tensor."""
        for name, tensor in module.named_parameters():
            if not torch.isfinite(tensor.detach().sum()) and not torch.isfinite(tensor.detach()).all():
                raise _diverged("weight", name, "NaN or infinite", steps_done)

    def _column(self, number: int) -> str:
        return self.columns[number] if number < len(self.columns) else f"in column {number}"


def _sound(values: np.ndarray) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum()  # one sum tells of any NaN or infinity; only then is it worth looking closer
    return bool(np.isfinite(total)) or bool(np.isfinite(values).all())


def _first_bad(values: np.ndarray) -> tuple[int, ...]:
    return tuple(int(index) for index in np.argwhere(~np.isfinite(values))[0])


def _diverged(kind: str, name: str, value: object, steps_done: int) -> TrainingDiverged:
    said = value if isinstance(value, str) else "NaN" if value != value else "infinite"
    what = f"{kind} {name}".strip()
    return TrainingDiverged(f"{what} became {said} after {steps_done} steps; {ADVICE[kind]}")
