"""A PostgreSQL server of its own in a temporary folder, where its programs are installed."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sandbox.servers.processes import HOST, Process, free_port, wait_until

INIT_SECONDS = 60

# PostgreSQL refuses to run as root. Giving the rights up makes the kernel forget whose death ends the child, so that
# is asked for again afterwards: 1 is PR_SET_PDEATHSIG of prctl(2), 9 is SIGKILL.
_AS_USER = """\
import ctypes, os, sys
uid, gid = int(sys.argv[1]), int(sys.argv[2])
if os.getuid() == 0:
    os.setgroups([]); os.setgid(gid); os.setuid(uid)
ctypes.CDLL(None).prctl(1, 9)
os.execv(sys.argv[3], sys.argv[3:])
"""

_SETTINGS = (
    # What Temporal's SQLite and its `synchronous=normal` promise: a crash of the machine may lose the last commits.
    "synchronous_commit=off",
    "max_connections=100",
    "shared_buffers=256MB",
)


class PostgresMissingError(Exception):
    """No PostgreSQL here; the text says what was looked for."""


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise PostgresMissingError(f"no {name} on PATH")
    return str(Path(found).resolve())


def _user() -> pwd.struct_passwd:
    """Whom the server runs as: ourselves, or where that is root somebody without rights."""
    if os.getuid() != 0:
        return pwd.getpwuid(os.getuid())
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresMissingError("PostgreSQL does not run as root, and there is no user postgres or nobody")


@contextmanager
def postgres() -> Iterator[str]:
    """A running server's SQLAlchemy URL until the block ends. Raises `PostgresMissingError`, `StartError`."""
    init, server, user = _program("initdb"), _program("postgres"), _user()
    guard = [sys.executable, "-I", "-S", "-c", _AS_USER, str(user.pw_uid), str(user.pw_gid)]
    folder = Path(tempfile.mkdtemp(prefix="visitnow-bench-postgres-"))
    try:
        os.chown(folder, user.pw_uid, user.pw_gid)
        data = folder / "data"
        command = [*guard, init, "-D", str(data), "-U", "bench", "--auth=trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(command, check=True, timeout=INIT_SECONDS, stdout=subprocess.DEVNULL, cwd="/")  # noqa: S603  our own command line
        with _serving(guard, server, data, folder) as port:
            yield f"postgresql+psycopg://bench@{HOST}:{port}/bench"
    finally:
        shutil.rmtree(folder)


@contextmanager
def _serving(guard: list[str], server: str, data: Path, folder: Path) -> Iterator[int]:
    port = free_port()
    settings = [part for setting in _SETTINGS for part in ("-c", setting)]
    command = [*guard, server, "-D", str(data), "-h", HOST, "-p", str(port), "-k", str(data), *settings]
    process = Process("postgres", command, log=folder / "postgres.log", directory=Path("/"))
    process.start()
    try:
        wait_until(lambda: _listens(port), process)
        yield port
    finally:
        process.stop()


def _listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0
