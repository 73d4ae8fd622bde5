"""The sandbox as a child process, for the local stack and for tests."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from dataclasses import fields, replace
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self

from sandbox.config import SandboxConfig
from sandbox.servers.processes import Process, free_port, wait_until

ROOT = Path(__file__).parent.parent
PROBE_SECONDS = 1.0


class SandboxProcess:
    """Runs `python -m sandbox` until the block ends; the child dies with this process.

    Without ports in the configuration free ones are taken, and kept when the process is started again. What the child
    prints goes to `log`.
    """

    def __init__(self, config: SandboxConfig, *, log: Path) -> None:
        """Prepare the child; nothing runs yet."""
        self.config = replace(config, port=config.port or free_port(), smtp_port=config.smtp_port or free_port())
        # By environment, not by options: secrets do not belong into the list of processes.
        settings = {f"SANDBOX_{field.name.upper()}": getattr(self.config, field.name) for field in fields(config)}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SANDBOX_")}
        environment |= {name: str(value) for name, value in settings.items() if value is not None}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [environment.get("PYTHONPATH")])])
        self._process = Process("sandbox", [sys.executable, "-m", "sandbox"], log=log, environment=environment)

    @property
    def url(self) -> str:
        """The base address, without a slash at its end."""
        host = self.config.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.config.port}"

    @property
    def smtp_url(self) -> str:
        """Where mail is taken."""
        host = self.config.host
        return f"smtp://{f'[{host}]' if ':' in host else host}:{self.config.smtp_port}"

    @property
    def pid(self) -> int:
        """The process id; StartError if it was never started."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the child runs."""
        return self._process.alive

    def start(self, timeout: float = 30.0) -> None:
        """Start the child and wait until it serves; StartError with the end of its log if it does not."""
        self._process.start()
        try:
            wait_until(self._ready, self._process, timeout=timeout)
        except BaseException:
            self._process.kill()
            raise

    def stop(self) -> None:
        """Ask the child to end and wait for it; it forgets its ledger."""
        self._process.stop()

    def kill(self) -> None:
        """End the child at once, as a crash would."""
        self._process.kill()

    def _ready(self) -> bool:
        try:
            connection = HTTPConnection(self.config.host, self.config.port, timeout=PROBE_SECONDS)
            with closing(connection):
                connection.request("GET", "/livez")
                return connection.getresponse().status == HTTPStatus.OK
        except (OSError, HTTPException):
            return False

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()
