"""Redis without persistence: what is lost with it must not matter."""

import contextlib
import socket
from pathlib import Path

from sandbox.servers.processes import HOST, Process, free_port, wait_until


class Redis:
    """One Redis server; comes back empty on the same port."""

    def __init__(self, program: Path, directory: Path) -> None:
        directory.mkdir()
        self._port = free_port()
        command: list[str | Path] = [program, "--bind", HOST, "--port", str(self._port), "--dir", directory]
        command += ["--save", "", "--appendonly", "no"]
        self.process = Process("redis", command, log=directory / "redis.log")

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self._port}/0"

    def start(self) -> None:
        """Start, and return once it answers."""
        self.process.start()
        wait_until(self._answers, self.process)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((HOST, self._port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False
