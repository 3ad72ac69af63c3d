"""Short tasks for the django-q2 cluster: launchers and the cluster's own heartbeat."""

from django_q.tasks import async_task

from core import health, jobs


def enqueue_launch(kind_name: str, pk: int) -> None:
    """Ask the cluster to start one job's process."""
    async_task("core.tasks.launch", kind_name, pk, task_name=f"start {kind_name}:{pk}")


def launch(kind_name: str, pk: int) -> bool:
    """Launcher: claims the row, starts the process, returns."""
    return jobs.launch(kind_name, pk)


def beat() -> None:
    """Proof that the cluster takes and finishes tasks; scheduled every minute."""
    health.beat("tasks")
