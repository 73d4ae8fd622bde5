"""What the kernel says of processes: the processor time they have used and the memory they hold (Linux)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_USER_TIME, _SYSTEM_TIME = 11, 12
"""Fields 14 and 15 of proc_pid_stat(5), counted after the command's name."""

_LOOK_SECONDS = 0.25
_LOOKS = 16
_IDLE_SHARE = 0.1
"""Of one core; timers and polls of idle processes take less."""

MILLI = 1000.0
KIB = 1024


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far. Raises `OSError` where it is gone."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[_USER_TIME]) + int(fields[_SYSTEM_TIME])) / _TICKS


def resident_bytes(pid: int) -> int:
    """The memory of a process that is in RAM. Raises `OSError` where it is gone."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * KIB
    raise ProcessLookupError(pid)


class CpuMeter:
    """Adds up the processor time that each of some processes uses while it is running."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        """Names and process ids; this process is added as `bench`."""
        self._pids = {**pids, "bench": os.getpid()}
        self._used = dict.fromkeys(self._pids, 0.0)
        self._began: dict[str, float] = {}
        self._done = 0

    def start(self) -> None:
        """Begin a stretch of work."""
        self._began = {name: cpu_seconds(pid) for name, pid in self._pids.items()}

    async def settled(self) -> None:
        """Wait until what the work left behind is done: it belongs to this side, not to the next one's round."""
        used = sum(cpu_seconds(pid) for pid in self._pids.values())
        for _ in range(_LOOKS):
            await asyncio.sleep(_LOOK_SECONDS)
            before, used = used, sum(cpu_seconds(pid) for pid in self._pids.values())
            if used - before < _LOOK_SECONDS * _IDLE_SHARE:
                return

    def stop(self, done: int) -> None:
        """End it; `done` is how much work it was."""
        for name, pid in self._pids.items():
            self._used[name] += cpu_seconds(pid) - self._began[name]
        self._done += done

    def per_item(self) -> dict[str, float]:
        """Milliseconds of processor time per piece of work, the most expensive process first."""
        per = {name: used / max(self._done, 1) * MILLI for name, used in self._used.items()}
        return dict(sorted(per.items(), key=lambda item: -item[1]))

    def __str__(self) -> str:
        """`62 ms CPU: temporal 30, worker 15, …`; what is below half a millisecond is left out."""
        per = self.per_item()
        shown = ", ".join(f"{name} {used:.1f}" for name, used in per.items() if used >= 0.5)  # noqa: PLR2004  explained above
        return f"{sum(per.values()):.1f} ms CPU ({shown})"
