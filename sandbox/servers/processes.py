"""Child processes that never outlive their parent, and the free ports that they listen on."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HOST = "127.0.0.1"

# Below the range from which the kernel takes outgoing ports: while a server is down for a moment, a client that
# keeps dialling its port could otherwise be given that very port and block the restart.
_PORTS = range(20_000, 32_000)

# The kernel signals a child when the *thread* that made it ends, so all children are made by one thread that
# lives as long as the interpreter. A pool's threads start with its first task and are never given up.
_SPAWNER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")

# Runs in the child before the server: ask for SIGKILL at the parent's death, and go if it is dead already.
# 1 is PR_SET_PDEATHSIG of prctl(2).
_DIE_WITH_PARENT = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    raise SystemExit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class StartError(RuntimeError):
    """A server did not come up; the message ends with the last lines of its log."""


def free_port() -> int:
    """Return a TCP port of the loopback address that nobody listens on now."""
    for port in random.SystemRandom().sample(_PORTS, 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                return port
    raise StartError(f"no free TCP port found between {_PORTS.start} and {_PORTS.stop - 1}")


def wait_until(ready: Callable[[], bool], process: "Process", *, timeout: float = 30.0) -> None:
    """Poll `ready` until it holds.

    Raises StartError when the process ends first or `timeout` seconds have passed.
    """
    deadline = time.monotonic() + timeout
    while not ready():
        if not process.alive:
            raise StartError(f"{process.name} ended with code {process.returncode}\n{process.log_tail()}")
        if time.monotonic() > deadline:
            raise StartError(f"{process.name} is not ready after {timeout:.0f} s\n{process.log_tail()}")
        time.sleep(0.02)


class Process:
    """One child in a session of its own, its output in a file; the kernel kills it when this process dies."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._command = [str(part) for part in command]
        self._environment = environment
        self._directory = directory
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the running or last child. Raises StartError if it was never started."""
        if self._child is None:
            raise StartError(f"{self.name} was not started")
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        return None if self._child is None else self._child.poll()

    def start(self) -> None:
        """Start the child; does nothing while it runs."""
        if not self.alive:
            self._child = _SPAWNER.submit(self._spawn).result()

    def _spawn(self) -> subprocess.Popen[bytes]:
        guard = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid())]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*guard, *self._command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=None if self._environment is None else dict(self._environment),
                cwd=self._directory,
                start_new_session=True,  # Ctrl-C in a terminal reaches us alone; we decide the order of stopping
            )

    def wait(self, timeout: float) -> int:
        """Return the exit code. Raises TimeoutError when the child still runs after `timeout` seconds."""
        if self._child is None:
            raise StartError(f"{self.name} was not started")
        try:
            return self._child.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{self.name} still runs after {timeout:.0f} s") from error

    def stop(self, timeout: float = 10.0) -> None:
        """Ask the child to end; kill it and what it started after `timeout` seconds."""
        if self._child is None or not self.alive:
            return
        self._child.terminate()
        try:
            self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the child and what it started at once, as a crash would (SIGKILL)."""
        if self._child is None or not self.alive:
            return
        with contextlib.suppress(ProcessLookupError):  # it ended by itself between the two lines
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait(10.0)

    def log_tail(self, lines: int = 15) -> str:
        """Return the last lines that the child has written."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
