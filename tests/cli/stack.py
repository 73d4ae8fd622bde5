"""`visitnow` as a process of its own, with a temporary folder of its own, for the tests of the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
START_SECONDS = 150.0
STOP_SECONDS = 30.0


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until the condition holds."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, f"after {seconds:.0f} s it does not hold that {what}"
        time.sleep(0.05)


def environment(temporary: Path) -> dict[str, str]:
    """Ours without any setting of VisitNow's, and another temporary folder."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VISITNOW_")}
    return {**inherited, "TMPDIR": str(temporary), "COLUMNS": "200"}


def visitnow(temporary: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT,
        env=environment(temporary),
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


def children_of(pid: int) -> dict[int, str]:
    """The command line of each child process."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                # The name in parentheses may hold spaces; what follows it is the state and the parent.
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                command = (folder / "cmdline").read_text().replace("\0", " ")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == pid:
                found[int(folder.name)] = command
    return found


def runs(pid: int) -> bool:
    """Whether the process is there, and not only as an entry that waits to be collected."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@dataclass(frozen=True)
class Dev:
    """A running `visitnow dev`."""

    process: subprocess.Popen[str]
    temporary: Path
    ready_file: Path

    @property
    def children(self) -> dict[int, str]:
        """Its children."""
        return children_of(self.process.pid)

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal; the exit code and what was said on standard error."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        """The exit code and what was said on standard error."""
        _, said = self.process.communicate(timeout=STOP_SECONDS)
        return self.process.returncode, said


@contextmanager
def dev(folder: Path, *options: str) -> Iterator[Dev]:
    """Start `visitnow dev` and wait for its ready file; whatever happens, it is gone afterwards."""
    temporary, ready_file = folder / "tmp", folder / "ready.json"
    temporary.mkdir()
    command = [sys.executable, "-m", "cli", "dev", "--ready-file", str(ready_file), *options]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(temporary), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        running = Dev(process, temporary, ready_file)
        try:
            wait_until(lambda: ready_file.exists() or process.poll() is not None, START_SECONDS, "the stack is ready")
            if process.poll() is not None:
                raise AssertionError(f"visitnow dev ended by itself: {process.communicate()}")
            yield running
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=STOP_SECONDS)
