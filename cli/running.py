"""Which installation a command means: the one of the environment, else the development stack that runs here."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from adapters.settings import PREFIX, Settings, load_settings

STATE_FILE: Final = "settings.json"
_FOLDERS: Final = "visitnow-servers-*"
_NAMING: Final = ("MONGODB_URL", "TEMPORAL_ADDRESS", "REDIS_URL", "PROFILE", "SIGNING_KEYS")
"""Who sets one of these means an installation of their own."""


def environment_of(settings: Settings) -> dict[str, str]:
    """The variables from which another process reads the same settings."""
    values = {name: getattr(settings, name) for name in Settings.model_fields}
    return {
        f"{PREFIX}{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in values.items()
        if value is not None
    }


def remember(settings: Settings, folder: Path) -> None:
    """Leave the settings in the stack's own folder, readable by nobody else; they go with it."""
    path = folder / STATE_FILE
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(environment_of(settings), file)


def current_settings() -> Settings:
    """The environment's settings; where it names no installation, those of the newest development stack here.

    Raises `SettingsError`.
    """
    if any(PREFIX + name in os.environ for name in _NAMING):
        return load_settings()
    newest = max(_states(), key=lambda path: path.stat().st_mtime, default=None)
    return load_settings() if newest is None else _read(newest)


def _states() -> Iterator[Path]:
    """The state files of stacks of this user that are running."""
    for folder in Path(tempfile.gettempdir()).glob(_FOLDERS):
        state = folder / STATE_FILE
        if state.is_file() and folder.stat().st_uid == os.getuid() and _in_use(folder):
            yield state


def _in_use(folder: Path) -> bool:
    """Whether the folder's owner lives: it holds a lock on it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _read(state: Path) -> Settings:
    variables: Mapping[str, str] = json.loads(state.read_text(encoding="utf-8"))
    return Settings.model_validate({name.removeprefix(PREFIX).lower(): text for name, text in variables.items()})
