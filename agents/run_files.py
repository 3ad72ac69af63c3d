"""The files a run keeps in the models folder while it is under way. Needs no torch, so that pages can use it."""

import shutil
from pathlib import Path

from django.conf import settings


def checkpoints_of(run_pk: int) -> Path:
    """Folder of a run's checkpoints, which may not exist yet."""
    return Path(settings.MODELS_DIR) / "checkpoints" / f"run-{run_pk}"


def forget_files(run_pk: int) -> None:
    """Remove what a run kept until its version was published, or until it was canceled."""
    for path in (Path(settings.MODELS_DIR) / "trials").glob(f"run-{run_pk}-*"):
        path.unlink(missing_ok=True)
    shutil.rmtree(checkpoints_of(run_pk), ignore_errors=True)
