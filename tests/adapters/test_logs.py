"""Logs: only what is on the list, one object per line, and never an exception's text."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from adapters.logs import FIELDS, WITHHELD, JsonFormatter, only_listed

Line: TypeAlias = dict[str, str]

ROOT = Path(__file__).parents[2]
CANARY = "canary-41d7"


def test_what_is_not_on_the_list_is_left_out() -> None:
    event = {"event": "request", "status": 200, "code": None, "phone": CANARY, "reason": CANARY, "query": CANARY}
    assert only_listed(None, "info", event) == {"event": "request", "status": 200}


@pytest.mark.parametrize("personal", ["name", "phone", "email", "reason", "patient", "query", "path", "body", "ip"])
def test_nothing_personal_is_on_the_list(personal: str) -> None:
    assert personal not in FIELDS


@contextmanager
def _heard(name: str) -> Iterator[Callable[[], Line]]:
    """What a library of that name says meanwhile, as the line that is written."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger(name)
    logger.addHandler(handler)

    def line() -> Line:
        assert CANARY not in stream.getvalue()
        said: Line = json.loads(stream.getvalue())
        return said

    yield line
    logger.removeHandler(handler)


def test_a_library_s_exception_is_told_by_type_and_place() -> None:
    with _heard("library") as line:
        try:
            int(CANARY)
        except ValueError:
            logging.getLogger("library").exception("it failed for %s", CANARY)
        said = line()
    assert (said["event"], said["level"], said["logger"]) == ("it failed for %s", "error", "library")
    assert said["error"] == "ValueError"
    assert said["where"].startswith(f"{Path(__file__).name}:")


def test_a_library_s_message_is_told_as_far_as_it_is_code() -> None:
    with _heard("urllib3.connectionpool") as line:
        logging.getLogger("urllib3.connectionpool").warning("Retrying (%r) after %r: %s", 1, 2, f"/?To={CANARY}")
        assert line()["event"] == "Retrying (%r) after %r: %s"
    with _heard("asyncio") as line:
        logging.getLogger("asyncio").error(f"Task exception was never retrieved: ValueError('{CANARY}')")  # noqa: G004
        assert line()["event"] == WITHHELD
        assert line()["where"].startswith(f"{Path(__file__).name}:")
    with _heard("temporalio.activity") as line:
        logging.getLogger("temporalio.activity").warning("Completing activity as failed (%s)", "booking:apt_1")
        assert line()["event"] == "Completing activity as failed (booking:apt_1)"


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


CRASHES = f"""
from adapters import logs
logs.configure("info")
int("{CANARY}")
"""


def test_a_process_that_ends_by_an_exception_does_not_repeat_its_text() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CRASHES], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    [line] = [json.loads(one) for one in done.stdout.splitlines()]
    assert (line["level"], line["error"], line["where"]) == ("critical", "ValueError", "<string>:4")
    assert CANARY not in done.stdout + done.stderr
