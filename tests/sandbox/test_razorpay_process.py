"""The sandbox as a process: how it starts, what it refuses, and that it dies with its parent."""

import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from sandbox.__main__ import read_config
from sandbox.config import SandboxConfig
from sandbox.process import ROOT, SandboxProcess
from sandbox.server import READY
from sandbox.servers.processes import StartError
from tests.sandbox.support import KEY_ID, KEY_SECRET, Merchant, Sandbox, configuration, until

BARE = SandboxConfig(key_id=KEY_ID, key_secret=KEY_SECRET)


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 0)])
def test_it_starts_by_options_says_where_and_ends_in_silence(shop: Merchant, stop: signal.Signals, code: int) -> None:
    options = ["--key-id", KEY_ID, "--key-secret", KEY_SECRET, "--port", "0"]
    options += ["--webhook-url", shop.url, "--webhook-secret", "s", "--public-url", "http://127.0.0.1:1"]
    command = [sys.executable, "-m", "sandbox", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            line = child.stdout.readline()
            assert line.startswith(READY)
            url, mail = line.removeprefix(READY).split()
            answer = httpx.get(f"{url}/livez")
            assert (answer.status_code, answer.text) == (200, "ok")
            assert mail.startswith("smtp://127.0.0.1:")
        finally:
            child.send_signal(stop)
        output, errors = child.communicate(timeout=30)
    assert (output, errors, child.returncode) == ("", "", code)


@pytest.mark.parametrize(
    ("options", "variables", "complaint"),
    [
        ([], {}, "--key-id"),
        (["--key-id", "x"], {}, "--key-secret"),
        ([], {"SANDBOX_KEY_ID": "x", "SANDBOX_KEY_SECRET": "y", "SANDBOX_PORT": "http"}, "--port"),
        (["--webhook-url", "http://127.0.0.1:1/"], {"SANDBOX_KEY_ID": "x", "SANDBOX_KEY_SECRET": "y"}, "come together"),
        (["--minute-seconds", "0"], {"SANDBOX_KEY_ID": "x", "SANDBOX_KEY_SECRET": "y"}, "must be positive"),
    ],
)
def test_wrong_settings_are_refused_by_name(
    options: list[str], variables: dict[str, str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        read_config(options, variables)
    assert complaint in capsys.readouterr().err


def test_an_option_goes_before_its_variable() -> None:
    variables = {"SANDBOX_KEY_ID": "a", "SANDBOX_KEY_SECRET": "b", "SANDBOX_PORT": "1", "SANDBOX_MINUTE_SECONDS": "0.5"}
    config = read_config(["--port", "2"], variables)
    assert config == SandboxConfig(key_id="a", key_secret="b", port=2, minute_seconds=0.5)


@pytest.mark.parametrize(
    "change",
    [
        {"key_id": ""},
        {"key_secret": ""},
        {"webhook_url": "http://127.0.0.1/"},
        {"webhook_secret": "s"},
        {"refund_seconds": -1.0},
        {"minute_seconds": 0.0},
        {"webhook_retry_seconds": 0.0},
        {"webhook_attempts": 0},
        {"account_sid": "AC0"},
        {"auth_token": "t"},
        {"message_seconds": -1.0},
    ],
)
def test_a_configuration_that_cannot_be_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"must|together"):
        replace(BARE, **change)  # type: ignore[arg-type] # wrong values are the point


def test_secrets_are_not_in_its_command_line_nor_in_its_configurations_text(sandbox: Sandbox) -> None:
    arguments = Path(f"/proc/{sandbox.process.pid}/cmdline").read_bytes()
    for secret in (KEY_SECRET, "webhook-secret"):
        assert secret.encode() not in arguments
        assert secret not in repr(sandbox.process.config)


def test_a_taken_port_is_an_error_with_the_reason(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = replace(BARE, port=taken.getsockname()[1])
        with pytest.raises(StartError, match="Address already in use"):
            SandboxProcess(config, log=tmp_path / "log").start()


def test_it_starts_again_on_the_same_address_and_has_forgotten(tmp_path: Path, shop: Merchant) -> None:
    with SandboxProcess(configuration(shop), log=tmp_path / "log") as process:
        url = process.url
        with httpx.Client(base_url=url, auth=(KEY_ID, KEY_SECRET)) as http:
            http.post("/v1/orders", json={"amount": 50000, "currency": "INR"})
        process.kill()
        assert not process.alive
        process.start()
        assert process.url == url
        assert httpx.get(f"{url}/_control/ledger").json()["orders"] == []
    assert not process.alive


PARENT = """
import sys, time
from pathlib import Path
from sandbox.__main__ import read_config
from sandbox.config import SandboxConfig
from sandbox.process import SandboxProcess
process = SandboxProcess(SandboxConfig(key_id="k", key_secret="s"), log=Path(sys.argv[1]))
process.start()
print(process.pid, flush=True)
time.sleep(60)
"""


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "log")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert Path(f"/proc/{child}").exists()
        parent.send_signal(signal.SIGKILL)
    until(lambda: not running(child), "the child's end")


def running(pid: int) -> bool:
    """Tell whether a process runs; one that only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
