"""The gateway's adapter and its sandbox; it must never print."""

from collections.abc import AsyncIterator, Iterator

import pytest

from adapters.razorpay import RazorpayGateway
from sandbox.config import SandboxConfig
from sandbox.process import SandboxProcess
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
