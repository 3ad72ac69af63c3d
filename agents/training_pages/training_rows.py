"""What pages say of training runs: which work, which wait, and what may be asked of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from agents.models import TrainingRun, Trial
from agents.runs import queue
from agents.runs.run_files import checkpoints_of
from core.job_words import ENDED, wish
from core.models import JobRow

WANTED = Q(state=JobRow.State.STOPPED, desired_state=JobRow.Desired.RUNNING)
TONES = {"running": "mind", "finished": "gain", "failed": "loss", "canceled": "", "paused": "warn"}
DOTS = {"running": "", "finished": "", "failed": "loss", "canceled": "off"}


def runs() -> QuerySet[TrainingRun]:
    """Every run with what a line about it names."""
    return TrainingRun.objects.select_related("agent__instrument", "configuration", "plan")


def working() -> QuerySet[TrainingRun]:
    """Runs that work, are paused, or begin in a moment; oldest first. The waiting are left out."""
    return runs().filter(~Q(state__in=ENDED) | WANTED).order_by("id")


def waiting() -> QuerySet[TrainingRun]:
    """Runs in the queue, the next first."""
    return queue.waiting().select_related("agent__instrument", "configuration", "plan")


@dataclass(frozen=True)
class RunView:
    """One run as pages show it."""

    run: TrainingRun

    @property
    def waits(self) -> bool:
        """Whether it is in the queue."""
        run = self.run
        stopped = run.state == JobRow.State.STOPPED and run.desired_state == JobRow.Desired.STOPPED
        return run.queued and stopped and run.finished_at is None

    @property
    def running(self) -> bool:
        """Whether it is at work or about to be; a paused one is too."""
        wanted = self.run.state == JobRow.State.STOPPED and self.run.desired_state == JobRow.Desired.RUNNING
        return not self.waits and (wanted or self.run.state not in ENDED)

    @cached_property
    def state(self) -> str:
        """waiting, starting, running, pausing, paused, continuing, stopping, finished, failed or canceled."""
        if self.waits:
            return "waiting"
        asked = wish(self.run).removesuffix(" …")
        if asked in ("starting", "continuing", "pausing", "stopping"):
            return asked
        if self.run.keep_best and self.run.state not in ENDED:
            return "stopping"
        return "canceled" if self.run.state == JobRow.State.STOPPED else str(self.run.state)

    @property
    def words(self) -> str:
        """The state as a person reads it."""
        if self.state == "stopping" and self.run.keep_best:
            return "stopping, keeps the best …"
        return f"{self.state} …" if self.state in ("starting", "continuing", "pausing", "stopping") else self.state

    @property
    def tone(self) -> str:
        return TONES.get(self.state, "warn")

    @property
    def dot(self) -> str:
        return DOTS.get(self.state, "warn")

    @property
    def done(self) -> float | None:
        """Seconds of work so far, pauses left out."""
        if self.run.worked_seconds:
            return self.run.worked_seconds
        if self.run.started_at is None:
            return None
        return ((self.run.finished_at or timezone.now()) - self.run.started_at).total_seconds()

    @property
    def left(self) -> float | None:
        """Seconds that are left; unknown until some of it is done, and while it is paused."""
        run = self.run
        if not self.running or self.state == "paused":
            return None
        if run.eta_seconds is not None:
            return run.eta_seconds
        return self.done * (1 - run.progress) / run.progress if self.done is not None and run.progress > 0.01 else None

    @property
    def cpu(self) -> float | None:
        """Share of the processor, 1.0 is one core."""
        return self.run.resources.get("cpu")

    @property
    def memory_gb(self) -> float | None:
        """Memory of all its processes."""
        megabytes = self.run.resources.get("memory_mb")
        return None if megabytes is None else megabytes / 1024

    @property
    def notes(self) -> list[str]:
        """What a person should know of its final learnings; a trial's own are on the trial's page."""
        return [f"{part[:1].upper()}{part[1:]}: {words}" for part, words in self.run.resources.get("notes", {}).items()]

    @property
    def can_pause(self) -> bool:
        return self.running and self.state in ("running", "starting")

    @property
    def can_resume(self) -> bool:
        return self.state in ("paused", "pausing")

    @property
    def can_stop(self) -> bool:
        return self.running and self.run.desired_state != JobRow.Desired.STOPPED

    @property
    def can_keep(self) -> bool:
        """Whether something could be kept: a trial has ended with a result."""
        return self.can_stop and not self.run.keep_best and self.run.trials.filter(state=Trial.State.DONE).exists()

    @property
    def files_kept(self) -> bool:
        """Whether its checkpoints are still there: they go with its end, some time later if it failed."""
        return self.state not in ("finished", "canceled") and checkpoints_of(self.run.pk).is_dir()

    @property
    def wish(self) -> str:
        """What has been asked and not yet done, for the dashboard's line."""
        return self.words if self.words.endswith("…") else ""

    @cached_property
    def version(self) -> Any:
        """The model version that came of it."""
        return getattr(self.run, "model_version", None)


def main_run() -> RunView | None:
    """The run the page opens with: the oldest at work, else the newest that has ended."""
    run = working().first() or runs().exclude(pk__in=queue.waiting()).order_by("-id").first()
    return RunView(run) if run else None
