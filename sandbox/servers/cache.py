"""The folder outside the project that keeps downloaded and built server binaries from run to run."""

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


def cache_directory(environment: Mapping[str, str]) -> Path:
    """Return `$XDG_CACHE_HOME/visitnow`, or `~/.cache/visitnow` where that is unset."""
    base = environment.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path(environment.get("HOME") or Path.home()) / ".cache") / "visitnow"


def compiled_once(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables with which a child keeps compiled modules in the cache, whatever its parent does.

    Workflows run in a sandbox that loads their module anew for each run: compiling it each time would cost more than
    running it.
    """
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(cache_directory(environment) / "bytecode")}


@contextmanager
def _locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock between processes; the kernel lets go of it when the holder dies."""
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def install_once(target: Path, build: Callable[[Path], None], waiting: Callable[[], None]) -> None:
    """Make the folder `target` by `build(empty folder)`, once for all processes, completely or not at all.

    `waiting` is called when another process is at it, before its end is awaited.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.with_name(f".{target.name}.lock"), waiting):
        if target.is_dir():
            return
        unfinished = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            build(unfinished)
            unfinished.rename(target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
