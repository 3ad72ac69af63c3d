"""What a job row says to a person about the time between a wish and its fulfilment."""

from core.models import JobRow

ANSWERING = (JobRow.State.RUNNING, JobRow.State.PAUSED, JobRow.State.WAITING)
AT_WORK = (*ANSWERING, JobRow.State.STARTING, JobRow.State.STOPPING)
ENDED = (JobRow.State.FINISHED, JobRow.State.FAILED, JobRow.State.STOPPED)


def wish(job: JobRow) -> str:
    """What has been asked of a job and not yet acknowledged by its process: "stopping …", or nothing."""
    wanted, state = job.desired_state, job.state
    if wanted == JobRow.Desired.RUNNING and state in (JobRow.State.STOPPED, JobRow.State.STARTING):
        return "starting …"
    if wanted == JobRow.Desired.RUNNING and state == JobRow.State.PAUSED:
        return "continuing …"
    if wanted == JobRow.Desired.PAUSED and state in (JobRow.State.RUNNING, JobRow.State.STARTING, JobRow.State.WAITING):
        return "pausing …"
    if wanted == JobRow.Desired.STOPPED and state in AT_WORK:
        return "stopping …"
    if job.applied_version < job.settings_version and state in ANSWERING:
        return "taking over settings …"
    return ""
