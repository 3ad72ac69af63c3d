"""An agent's process: every published bar becomes fills, a valuation, a decision with its reasons, and an order intent.

One bar is one transaction, claimed by compare-and-set on the agent's last bar, so a crash at any point leaves either
the whole bar or nothing; the order is sent after the commit and sent again after a crash if it was not.
"""

import logging
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models import Q

from agents.loop import BarLoop, StoppedMeanwhileError
from agents.models import Agent
from core.jobs import Job, JobFailedError
from core.models import JobRow
from core.notices import notify
from marketdata.models import Stream, Subscription
from marketdata.queries import next_bar_times

logger = logging.getLogger(__name__)

IDLE_SECONDS = 2.0
READY = datetime.fromtimestamp(0, UTC)


class AgentProcess:
    """Follows the agent's stream and obeys its row until stopped."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.loop: BarLoop | None = None

    def run(self) -> None:
        """Until an operator stops the agent or the desk shuts down.

        Raises: JobFailedError for what a person must mend.
        """
        try:
            self._follow()
        except JobFailedError:
            # Nobody must wait for an agent that cannot go on; its start subscribes it again.
            Subscription.objects.filter(subscriber=self.job.read().name).update(active=False)
            raise

    def _follow(self) -> None:
        while not self.job.shutting_down:
            agent: Agent = self.job.read()
            if agent.desired_state == JobRow.Desired.STOPPED:
                self.job.beat(JobRow.State.STOPPED, applied_version=agent.settings_version)
                return
            if not self._turn(agent):
                self.job.wait(IDLE_SECONDS)
        self.job.beat(JobRow.State.STOPPED, "the desk was shut down")

    def _turn(self, agent: Agent) -> bool:
        """Deal with the next bar if there is one. Returns: whether there was."""
        version = agent.settings_version if agent.settings_version != agent.applied_version else None
        if agent.stream_id is None:
            raise JobFailedError(f"{agent.name} has no stream to follow; choose one in the admin")
        if agent.deployed_version_id is None:
            self.job.beat(JobRow.State.WAITING, "no proven model yet", applied_version=version)
            return False
        self._load(agent)
        stream = Stream.objects.get(pk=agent.stream_id)
        moment = next_bar(agent, stream)
        paused = agent.desired_state == JobRow.Desired.PAUSED
        state = JobRow.State.PAUSED if paused else JobRow.State.RUNNING
        ended = stream.state == JobRow.State.FINISHED and moment is None
        self.job.beat(state, "the replay has ended" if ended else "", applied_version=version)
        if moment is None:
            acknowledge(agent, stream.cursor or READY)
            return False
        assert self.loop is not None
        try:
            self.loop.on_bar(moment, stream, paused=paused)
        except StoppedMeanwhileError:
            logger.info("%s: bar %s belongs to another process or the agent was stopped", agent.name, moment)
        return True

    def _load(self, agent: Agent) -> None:
        """Load model and settings when they are new; after a restart send what was committed but not sent."""
        if self.loop is not None and self.loop.serves(agent):
            return
        self.loop = BarLoop.load(agent)
        self.loop.execution.send_unsent()
        logger.info("%s trades with %s", agent.name, self.loop.version)


def next_bar(agent: Agent, stream: Stream) -> datetime | None:
    """Time of the next published bar the agent has not dealt with; bars before the stream's start are history."""
    if stream.cursor is None:
        return None
    after = agent.last_bar_time or stream.from_time - timedelta(microseconds=1)
    times = next_bar_times([agent.instrument_id], agent.interval_seconds, after=after, until=stream.cursor, limit=1)
    return times[0] if times else None


@transaction.atomic
def acknowledge(agent: Agent, moment: datetime) -> None:
    """Tell the stream that the agent is ready, or has dealt with everything up to `moment`."""
    waiting = Subscription.objects.filter(stream=agent.stream, subscriber=agent.name, active=True)
    news = Q(acknowledged__isnull=True) | Q(acknowledged__lt=moment)
    changed = waiting.filter(news).update(acknowledged=moment)
    if changed:
        notify("stream", stream=agent.stream_id)
