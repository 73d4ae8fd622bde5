"""Logs: only what is on the list, one object per line, and never an exception's text."""

import io
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.logs import FIELDS, JsonFormatter, only_listed

ROOT = Path(__file__).parents[2]
CANARY = "canary-41d7"


def test_what_is_not_on_the_list_is_left_out() -> None:
    event = {"event": "request", "status": 200, "code": None, "phone": CANARY, "reason": CANARY, "query": CANARY}
    assert only_listed(None, "info", event) == {"event": "request", "status": 200}


@pytest.mark.parametrize("personal", ["name", "phone", "email", "reason", "patient", "query", "path", "body", "ip"])
def test_nothing_personal_is_on_the_list(personal: str) -> None:
    assert personal not in FIELDS


def test_a_library_s_exception_is_told_by_type_and_place() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("library")
    logger.addHandler(handler)
    try:
        int(CANARY)
    except ValueError:
        logger.exception("it failed")
    logger.removeHandler(handler)
    line = json.loads(stream.getvalue())
    assert line["event"] == "it failed"
    assert (line["level"], line["logger"], line["error"]) == ("error", "library", "ValueError")
    assert line["where"].startswith(f"{Path(__file__).name}:")
    assert CANARY not in stream.getvalue()


PROGRAM = f"""
import logging, structlog
from adapters import logs
logs.configure("info")
log = structlog.get_logger()
log.debug("unheard")
log.info("told", count=3, phone="{CANARY}")
logging.getLogger("httpx").info("GET http://{CANARY}")
logging.getLogger("twilio.http_client").info("Query Params: {CANARY}")
logging.getLogger("a.library.of.tomorrow").info("{CANARY}")
logging.getLogger("uvicorn.error").warning("stopping %s", "now")
"""


def test_a_process_writes_one_object_per_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["told", "stopping now"]
    assert lines[0]["count"] == 3
    assert lines[0]["level"] == "info"
    assert all("timestamp" in line for line in lines)
    assert CANARY not in done.stdout + done.stderr
