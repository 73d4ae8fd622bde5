"""Logs: one JSON object per line, with an allow-list of fields, so that no personal data slips in by accident."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import MutableMapping
from datetime import UTC, datetime
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
"""Libraries that tell more than warnings; others would log addresses, query strings or bodies at any lower level."""


def only_listed(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Structlog processor: drop what is not on the list, and what says nothing."""
    return {name: value for name, value in event.items() if name in FIELDS and value is not None}


class JsonFormatter(logging.Formatter):
    """Lines of libraries that use the standard module, in the same form.

    Of an exception only its type and place are told: its text may hold what somebody typed.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        line: dict[str, str] = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            frames = traceback.extract_tb(record.exc_info[2])[-4:]
            line["error"] = record.exc_info[0].__name__
            line["where"] = " < ".join(f"{one.filename.rpartition('/')[2]}:{one.lineno}" for one in reversed(frames))
        return json.dumps(line, ensure_ascii=False)


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
