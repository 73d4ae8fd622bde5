"""A temporary folder that is removed with its owner, or by the next run if the owner was killed."""

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_PREFIX = "visitnow-servers-"
_YOUNG_SECONDS = 60  # a folder this new may not be locked by its owner yet


class Workspace:
    """A folder of its own under the system's temporary folder, locked for as long as this process uses it."""

    def __init__(self) -> None:
        _remove_abandoned()
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._handle, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        shutil.rmtree(self.path)
        os.close(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


def _remove_abandoned() -> None:
    """Remove the folders whose owner was killed: the kernel has let go of their locks."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, PermissionError):  # another run's clean-up was faster, or another user's folder
            continue
        try:
            if time.time() - os.fstat(handle).st_mtime > _YOUNG_SECONDS:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:  # in use
            continue
        finally:
            os.close(handle)
