"""What a run writes for its pages while it learns: points of the curves, and what it takes of the machine."""

import importlib
import time
from collections.abc import Iterable
from typing import Any

import psutil

from agents.models import TrainingPoint
from agents.runs.learning import Progress
from core.notices import notify

MEGABYTE = 1024.0 * 1024.0
SECONDS_BETWEEN_POINTS = 1.0
POINTS_PER_PART = 200
SECONDS_BETWEEN_NOTICES = 0.5


class PartLog:
    """The curve of one learning: at most a point a second, and no more than a page can show."""

    def __init__(self, run_pk: int, part: str, n_steps: int) -> None:
        self.run_pk, self.part = run_pk, part
        self.every = n_steps / POINTS_PER_PART
        self._steps, self._written, self._process = -1, 0.0, psutil.Process()
        self._process.cpu_percent()

    def take(self, progress: Progress) -> None:
        """Note where the learning stands. The first call drops what a lost process wrote beyond its checkpoint."""
        if self._steps < 0:
            TrainingPoint.objects.filter(run=self.run_pk, part=self.part, step__gt=progress.steps_done).delete()
            self._steps = progress.steps_done
        now, advanced = time.monotonic(), progress.steps_done - self._steps
        last = progress.steps_done >= progress.steps_total
        if advanced <= 0 or (not last and (advanced < self.every or now - self._written < SECONDS_BETWEEN_POINTS)):
            return
        self._steps, self._written = progress.steps_done, now
        self._write(progress.steps_done, values_of(progress) | self._own_use())

    def score(self, step: int, value: float) -> None:
        """Note an evaluation on the validation rows."""
        self._write(step, {"score": value})

    def _own_use(self) -> dict[str, float]:
        memory = self._process.memory_info().rss / MEGABYTE
        return {"cpu": self._process.cpu_percent() / 100.0, "memory_mb": round(memory, 1)}

    def _write(self, step: int, values: dict[str, float]) -> None:
        TrainingPoint.objects.create(run_id=self.run_pk, part=self.part, step=step, values=values)


def values_of(progress: Progress) -> dict[str, float]:
    """Everything a learner reports, by the names that pages know; what is not a number is left out."""
    values: dict[str, float | None] = {"steps_per_second": round(progress.steps_per_second, 1)}
    for prefix, found in (
        ("loss", progress.losses), ("reward", progress.reward_components), ("action", progress.actions),
    ):  # fmt: skip
        values |= {f"{prefix}/{name}": float(value) for name, value in found.items()}
    values["episode_return"] = progress.episode_return
    return {name: value for name, value in values.items() if value is not None and value == value}


class Notices:
    """Tells pages that a run has changed, at most twice a second."""

    def __init__(self, run_pk: int) -> None:
        self.run_pk, self._said = run_pk, 0.0

    def say(self) -> None:
        """Tell, unless it was told a moment ago."""
        if time.monotonic() - self._said >= SECONDS_BETWEEN_NOTICES:
            self._said = time.monotonic()
            notify("training", run=self.run_pk)


class Meter:
    """How much of the machine the run's processes take."""

    def __init__(self) -> None:
        self._known: dict[int, psutil.Process] = {}
        self._gpu = _gpu()

    def read(self, pids: Iterable[int]) -> dict[str, Any]:
        """cpu: share of one core by all of them together; memory_mb of all; what is left; the GPU if there is one."""
        cpu = memory = 0.0
        for pid in (psutil.Process().pid, *pids):
            try:
                process = self._known.setdefault(pid, psutil.Process(pid))
                cpu += process.cpu_percent() / 100.0
                memory += process.memory_info().rss / MEGABYTE
            except psutil.Error:
                self._known.pop(pid, None)
        free = psutil.virtual_memory().available / MEGABYTE
        found = {"cpu": round(cpu, 2), "memory_mb": round(memory, 1), "free_memory_mb": round(free, 1)}
        return found | (self._gpu() if self._gpu else {})


def _gpu() -> Any:
    """A function that reads the first NVIDIA card, or None without one or without nvidia-ml-py."""
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
        card = nvml.nvmlDeviceGetHandleByIndex(0)
    except Exception:  # not installed, no driver or no card: all mean that there is nothing to read
        return None

    def read() -> dict[str, float]:
        memory = nvml.nvmlDeviceGetMemoryInfo(card).used / MEGABYTE
        return {"gpu": nvml.nvmlDeviceGetUtilizationRates(card).gpu / 100.0, "gpu_memory_mb": round(memory, 1)}

    return read
