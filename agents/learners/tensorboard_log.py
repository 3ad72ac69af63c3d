"""Scalars for TensorBoard, consistent after a resume: points after the step that is gone on from are dropped. Pure."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

logger = logging.getLogger(__name__)


class ScalarLog(Protocol):
    """Takes scalars by name."""

    def write(self, step: int, values: dict[str, float]) -> None:
        """Note values at a step."""

    def close(self) -> None:
        """Write what is left."""


class NoLog:
    """Keeps nothing."""

    def write(self, step: int, values: dict[str, float]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class TensorBoardLog:
    """A folder of TensorBoard's event files. first_step: where the learning goes on from."""

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter  # heavy, and only wanted with logs

        folder.mkdir(parents=True, exist_ok=True)
        self.is_broken = False
        # What a killed process has written beyond its last checkpoint is measured again: TensorBoard then hides it.
        self.writer = SummaryWriter(str(folder), purge_step=first_step + 1 if first_step else None, max_queue=200)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Note values at a step."""
        with self._unless_full():
            for name, value in values.items():
                self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        with self._unless_full():
            self.writer.close()

    @contextmanager
    def _unless_full(self) -> Iterator[None]:
        """A log that cannot be written ends no learning."""
        try:
            yield
        except OSError as error:
            if not self.is_broken:
                logger.warning("TensorBoard's log cannot be written: %s", error)
            self.is_broken = True


def open_log(folder: Path | None, first_step: int = 0) -> ScalarLog:
    """A log in the folder, or one that keeps nothing."""
    return NoLog() if folder is None else TensorBoardLog(folder, first_step)
