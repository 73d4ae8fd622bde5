"""The gateway's adapter and its sandbox, which must never print; and places in each kind of object storage."""

from collections.abc import AsyncIterator, Iterator

import pytest

from adapters.razorpay import RazorpayGateway
from sandbox.config import SandboxConfig
from sandbox.process import SandboxProcess
from sandbox.servers.object_storage import ObjectStorage
from sandbox.servers.provision import Provisioner
from tests.adapters.razorpay_support import KEY_ID, KEY_SECRET, READ_TIMEOUT, Sandbox


@pytest.fixture(scope="module")
def sandbox_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    config = SandboxConfig(key_id=KEY_ID, key_secret=KEY_SECRET, refund_seconds=0.05)
    with SandboxProcess(config, log=tmp_path_factory.mktemp("sandbox") / "log") as process:
        yield process


@pytest.fixture
def sandbox(sandbox_process: SandboxProcess) -> Iterator[Sandbox]:
    sandbox = Sandbox(sandbox_process.url)
    yield sandbox
    sandbox.post("/_control/reset", {})
    sandbox.close()


@pytest.fixture
async def gateway(sandbox: Sandbox) -> AsyncIterator[RazorpayGateway]:
    gateway = RazorpayGateway(sandbox.url + "/", KEY_ID, KEY_SECRET, read_timeout=READ_TIMEOUT, threads=8)
    yield gateway
    gateway.close()


@pytest.fixture
def prints_nothing(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    yield
    assert capfd.readouterr().out == ""


@pytest.fixture(scope="module", params=["file", pytest.param("s3", marks=pytest.mark.s3)])
def storage_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A place of its own in each kind of store; S3's keys and endpoint come from the environment, as in production."""
    folder = tmp_path_factory.mktemp("objects")
    if request.param == "file":
        yield folder.as_uri()
        return
    server = ObjectStorage(Provisioner().object_storage(), folder / "server", bucket="visitnow")
    server.start()
    with pytest.MonkeyPatch.context() as environment:
        for name, value in server.environment.items():
            environment.setenv(name, value)
        yield "s3://visitnow/some/prefix"
    server.process.kill()
