"""Log lines as JSON, one object a line, each with the request that caused it.

Named ``logs`` so that it does not hide ``logging``.
"""

import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import orjson

# The one module-level object of the service: a context variable has to live at module level.
# https://docs.python.org/3/library/contextvars.html#contextvars.ContextVar
request_id: ContextVar[str | None] = ContextVar("opal_request_id", default=None)

# What every LogRecord has; all else was given by `extra=`.
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "color_message"}


class JsonFormatter(logging.Formatter):
    """Turns a log record into one line of JSON.

    Fields: ``time`` (UTC), ``level``, ``logger``, ``message``, ``pid``; ``request_id`` where there
    is a request; ``error`` with a traceback where there is one; and what ``extra=`` gave.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        current = request_id.get()
        if current is not None:
            line["request_id"] = current
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD_FIELDS}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class StartFilter(logging.Filter):
    """Drops the line by which uvicorn ends a failed start: what failed has been said before it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is to be written."""
        return record.msg != "Application startup failed. Exiting."


def log_config(level: str) -> dict[str, Any]:
    """Return the ``logging.config.dictConfig`` of a worker: JSON on stderr.

    Args:
        level: Least severe level that is written.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "service.monitoring.logs.JsonFormatter"}},
        "filters": {"start": {"()": "service.monitoring.logs.StartFilter"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level.upper()},
        # They tell at length of every start and stop; `service.processes.server` says what matters.
        "loggers": {
            **{name: {"level": "WARNING"} for name in ("uvicorn", "faiss")},
            "uvicorn.error": {"filters": ["start"]},
        },
    }
