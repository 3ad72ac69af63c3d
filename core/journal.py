"""The journal: every operator action and every event worth knowing, in one table."""

import logging
from typing import Any

from core.models import Event
from core.notices import notify

logger = logging.getLogger(__name__)


def record(
    kind: str,
    message: str,
    *,
    level: str = Event.Level.INFO,
    actor: str = "system",
    subject: str = "",
    data: dict[str, Any] | None = None,
) -> Event:
    """Write one line of the journal inside the caller's transaction, tell the pages, and put it in the log.

    kind: dotted name, such as "agent.started". data: before and after, in JSON values.
    """
    event = Event.objects.create(
        kind=kind, message=message[:400], level=level, actor=actor[:80], subject=subject, data=data or {}
    )
    notify("event")
    logger.info(message)
    return event
