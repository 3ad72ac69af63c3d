"""One readable log line per event, the same from every process."""

import logging
import os
from datetime import UTC, datetime


class LineFormatter(logging.Formatter):
    """`12:30:01 agent:1  message`: UTC time, who speaks, what happened; warnings carry their level."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        speaker = os.environ.get("DESK_PROCESS", "desk")
        level = "" if record.levelno <= logging.INFO else f"{record.levelname}: "
        line = f"{time} {speaker:<12} {level}{record.getMessage()}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line
