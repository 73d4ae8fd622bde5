"""Fixtures of the payment sandbox's tests: one process for a test session, forgetful between tests."""

from collections.abc import Iterator

import pytest

from tests.sandbox.support import Merchant, Sandbox, configuration, merchant, running


@pytest.fixture(scope="session")
def shop() -> Iterator[Merchant]:
    with merchant() as keeper:
        yield keeper


@pytest.fixture(scope="session")
def running_sandbox(shop: Merchant, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    log = tmp_path_factory.mktemp("sandbox") / "sandbox.log"
    with running(configuration(shop), shop, log) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running_sandbox: Sandbox) -> Sandbox:
    running_sandbox.control("reset", {})
    running_sandbox.merchant.clear()
    return running_sandbox
