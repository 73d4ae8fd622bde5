"""An S3 of our own: versitygw in front of a folder, with one bucket and one account."""

import secrets
import socket
from contextlib import suppress
from pathlib import Path

from sandbox.servers.processes import HOST, Process, free_port, wait_until

_REGION = "us-east-1"


class ObjectStorage:
    """One gateway; comes back on the same port with the same objects."""

    def __init__(self, program: Path, directory: Path, *, bucket: str, versions: bool = False) -> None:
        """With `versions` the bucket can be told to keep what is overwritten and deleted."""
        (directory / "data" / bucket).mkdir(parents=True)
        self._port = free_port()
        self._access_key, self._secret_key = secrets.token_hex(8), secrets.token_urlsafe(24)
        command: list[str | Path] = [program, "--quiet", "--port", f"{HOST}:{self._port}", "--region", _REGION]
        command.append("posix")
        if versions:
            (directory / "versions").mkdir()
            command += ["--versioning-dir", directory / "versions"]
        command.append(directory / "data")
        account = {"ROOT_ACCESS_KEY_ID": self._access_key, "ROOT_SECRET_ACCESS_KEY": self._secret_key}
        self.process = Process("versitygw", command, log=directory / "versitygw.log", environment=account)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which every S3 client finds it."""
        return {
            "AWS_ENDPOINT_URL": f"http://{HOST}:{self._port}",
            "AWS_ACCESS_KEY_ID": self._access_key,
            "AWS_SECRET_ACCESS_KEY": self._secret_key,
            "AWS_REGION": _REGION,
        }

    def start(self) -> None:
        """Start, and return once it listens."""
        self.process.start()
        wait_until(self._listens, self.process)

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection((HOST, self._port), timeout=1):
            return True
        return False
