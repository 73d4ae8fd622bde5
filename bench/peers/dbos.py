"""Runs the booking on DBOS as a child process: installs the library into the cache, starts its database."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.figures import Sample
from bench.peers.postgres import PostgresMissingError, postgres
from sandbox.servers.cache import cache_directory, install_once

ROOT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).parent / "requirements.lock"
INSTALL_SECONDS = 300
ROUND_SECONDS = 150.0
LINE_LIMIT = 1 << 22


class PeerMissingError(Exception):
    """The peer cannot be measured here; the text says why."""


def _install(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command = [*pip, "--require-hashes", "--target", str(folder / "site"), "-r", str(REQUIREMENTS)]
    try:
        subprocess.run(command, check=True, timeout=INSTALL_SECONDS, capture_output=True)  # noqa: S603  our own command line
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines() or ["pip failed"]
        raise PeerMissingError(f"DBOS could not be installed: {lines[-1][:200]}") from error
    except subprocess.TimeoutExpired as error:
        raise PeerMissingError(f"DBOS was not installed within {INSTALL_SECONDS} s") from error


def _site() -> Path:
    """The folder with DBOS and what it needs, kept outside the project's own environment."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:16]
    target = cache_directory(os.environ) / f"dbos-{digest}"
    install_once(target, _install, lambda: None)
    return target / "site"


class DbosBooking:
    """The running peer."""

    def __init__(self, child: Process) -> None:
        """The child answers on its standard output."""
        self._child = child

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    async def book(self, count: int, in_flight: int) -> Sample:
        """Book `count` times. Raises `PeerMissingError` where the child has ended, `TimeoutError` where it is stuck."""
        if self._child.stdin is None or self._child.stdout is None:
            raise PeerMissingError("the peer has no pipes")
        self._child.stdin.write(json.dumps({"count": count, "in_flight": in_flight}).encode() + b"\n")
        async with asyncio.timeout(ROUND_SECONDS):
            line = await self._child.stdout.readline()
        if not line:
            raise PeerMissingError("the peer ended by itself")
        answer = json.loads(line)
        return Sample(answer["done"], answer["seconds"], tuple(answer["latencies"]))


@asynccontextmanager
async def dbos_booking() -> AsyncIterator[DbosBooking]:
    """The peer, until the block ends. Raises `PeerMissingError`."""
    site = await asyncio.to_thread(_site)
    database = postgres()
    try:
        url = await asyncio.to_thread(database.__enter__)
    except PostgresMissingError as error:
        raise PeerMissingError(str(error)) from error
    try:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(site)])}
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.peers.dbos_booking", url,
            stdin=PIPE, stdout=PIPE, env=environment, limit=LINE_LIMIT,
        )  # fmt: skip
        try:
            yield DbosBooking(child)
        finally:
            child.kill()
            await child.wait()
    finally:
        await asyncio.to_thread(database.__exit__, None, None, None)
