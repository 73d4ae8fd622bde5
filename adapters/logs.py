"""Logs: one JSON object per line, with an allow-list of fields, so that no personal data slips in by accident."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final

import structlog

FIELDS: Final = frozenset({
    "event", "level", "logger", "timestamp",
    "request_id", "method", "route", "status", "code", "duration_ms", "permission",
    "error", "error_type", "where", "attempt", "count", "queue", "queues", "outcome",
    "workflow_type", "task_queue", "profile",
})  # fmt: skip
"""What a line may carry; anything else is left out."""

_HEARD: Final = ("temporalio", "uvicorn.error")
"""Libraries that tell more than warnings, in words of their own and ids of ours; others would log addresses, query
strings or bodies at any lower level."""

WITHHELD: Final = "a library's message, which may hold anything"
_FRAMES: Final = 4


def only_listed(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Structlog processor: drop what is not on the list, and what says nothing."""
    return {name: value for name, value in event.items() if name in FIELDS and value is not None}


class JsonFormatter(logging.Formatter):
    """Lines of libraries that use the standard module, in the same form.

    Of an exception only its type and place are told: its text may hold what somebody typed. Of a message, unless the
    library is one that we know, only the pattern that its values are put into.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        line: dict[str, str] = {
            "event": _told(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "where": f"{record.filename}:{record.lineno}",
        }
        if record.exc_info and record.exc_info[0] is not None:
            line |= _failure(record.exc_info[0], record.exc_info[2])
        return json.dumps(line, ensure_ascii=False)


def _told(record: logging.LogRecord) -> str:
    if record.name.startswith(_HEARD):
        return record.getMessage()
    return record.msg if record.args and isinstance(record.msg, str) else WITHHELD


def _failure(kind: type[BaseException], trace: TracebackType | None) -> dict[str, str]:
    frames = traceback.extract_tb(trace)[-_FRAMES:]
    where = " < ".join(f"{one.filename.rpartition('/')[2]}:{one.lineno}" for one in reversed(frames))
    return {"error": kind.__name__, "where": where}


def _crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The last line of a process that ends by an exception; the usual one would repeat its text."""
    del error
    line = {"event": "the process ends", "level": "critical", "logger": __name__, **_failure(kind, trace)}
    sys.stdout.write(json.dumps({**line, "timestamp": datetime.now(UTC).isoformat()}) + "\n")
    sys.stdout.flush()


def configure(level: str) -> None:
    """Set up this process's logging, to standard output; `level` is one of Settings.log_level."""
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            only_listed,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stdout),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(number, logging.WARNING))
    for name in _HEARD:
        logging.getLogger(name).setLevel(number)
    sys.excepthook = _crashed
