"""The files a run keeps in the models folder while it is under way. Needs no torch, so that pages can use it."""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from agents.models import TrainingRun
from core.journal import record
from core.models import JobRow

# So long one may look at what a failed run was about to do, and a run unknown to this database at its own.
KEPT_FOR = timedelta(days=14)
NUMBER = re.compile(r"run-(\d+)")
MEGABYTE = 1024.0 * 1024.0


def checkpoints_of(run_pk: int) -> Path:
    """Folder of a run's checkpoints, which may not exist yet."""
    return Path(settings.MODELS_DIR) / "checkpoints" / f"run-{run_pk}"


def forget_files(run_pk: int) -> None:
    """Remove what a run kept until its version was published, or until it was canceled."""
    for path in _trial_files(run_pk):
        path.unlink(missing_ok=True)
    shutil.rmtree(checkpoints_of(run_pk), ignore_errors=True)


@dataclass(frozen=True)
class Removed:
    """What was tidied up."""

    runs: tuple[int, ...]
    megabytes: float

    def __str__(self) -> str:
        if not self.runs:
            return "No ended training has left files behind"
        plural, named = "s" * (len(self.runs) != 1), ", ".join(map(str, self.runs))
        return f"Removed {self.megabytes:,.1f} MB of checkpoints and weights of ended training{plural}: run {named}"


def remove_old(now: datetime | None = None, *, actor: str = "system") -> Removed:
    """Remove this machine's files of runs that nobody can go on with any more; whatever can be resumed stays.

    Finished and canceled runs: at once, should their own end not have done it. Failed ones, whose last good checkpoint
    may be looked at, and runs that are not in this database: KEPT_FOR after their end, or after the last write.
    """
    now = now or timezone.now()
    found = [(pk, size_mb(pk)) for pk in sorted(set(_numbers())) if _is_over(pk, now)]
    for pk, _ in found:
        forget_files(pk)
    removed = Removed(tuple(pk for pk, _ in found), sum(size for _, size in found))
    if removed.runs:
        data = {"runs": list(removed.runs), "megabytes": round(removed.megabytes, 1)}
        record("training.files_removed", str(removed), actor=actor, data=data)
    return removed


def size_mb(run_pk: int) -> float:
    """What a run keeps."""
    return sum(found.st_size for found in _looked_at(_files(run_pk))) / MEGABYTE


def _is_over(run_pk: int, now: datetime) -> bool:
    run = TrainingRun.objects.filter(pk=run_pk).first()
    if run is None or run.state == JobRow.State.FAILED:
        # Another database may know the run, so that only its files can say how old it is.
        ended = run.finished_at if run is not None else None
        return now - (ended or _last_write(run_pk)) > KEPT_FOR
    if run.state == JobRow.State.FINISHED:
        return True
    wanted = run.queued or run.desired_state != JobRow.Desired.STOPPED
    return run.state == JobRow.State.STOPPED and run.finished_at is not None and not wanted


def _last_write(run_pk: int) -> datetime:
    times = [found.st_mtime for found in _looked_at((*_files(run_pk), checkpoints_of(run_pk)))]
    return datetime.fromtimestamp(max(times, default=0.0), UTC)


def _looked_at(paths: Iterable[Path]) -> Iterator[os.stat_result]:
    for path in paths:
        with suppress(FileNotFoundError):  # gone since it was listed
            yield path.stat()


def _numbers() -> Iterator[int]:
    folder = Path(settings.MODELS_DIR)
    for path in (*(folder / "checkpoints").glob("run-*"), *(folder / "trials").glob("run-*")):
        match = NUMBER.match(path.name)
        if match:
            yield int(match[1])


def _files(run_pk: int) -> list[Path]:
    return [*_trial_files(run_pk), *(path for path in checkpoints_of(run_pk).rglob("*") if path.is_file())]


def _trial_files(run_pk: int) -> list[Path]:
    return list((Path(settings.MODELS_DIR) / "trials").glob(f"run-{run_pk}-*"))
