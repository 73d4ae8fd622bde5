"""What all tests share: the servers (`tests.servers`), hypothesis' settings, and which modules come first."""

import sys
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

pytest_plugins = ["tests.servers", "tests.stack", "tests.booking.town"]

# No limit for one example: the time of a machine under load says nothing about the code.
settings.register_profile("visitnow", deadline=None)
settings.load_profile("visitnow")

# Workflows run in a sandbox that loads their modules anew for each run: compiling them each time would cost more.
sys.dont_write_bytecode = False

ROOT: Final = Path(__file__).parents[1]
LONGEST_FIRST: Final = (
    "tests/booking/test_faults.py",
    "tests/bench/test_bench.py",
    "tests/trust/test_deletion_api.py",
    "tests/trust/test_deletion_workflow.py",
    "tests/cli/test_demo.py",
    "tests/trust/test_deletion_kills.py",
    "tests/reminders/test_workflow.py",
    "tests/api/test_contract.py",
    "tests/booking/test_sweep.py",
    "tests/booking/test_payment.py",
    "tests/disaster/test_restore.py",
    "tests/availability/test_absence.py",
    "tests/disaster/test_drill.py",
    "tests/availability/test_absence_kills.py",
    "tests/cli/test_dev.py",
    "tests/onboarding/test_kills.py",
    "tests/reminders/test_kills.py",
    "tests/api/test_booking.py",
    "tests/booking/test_placing.py",
    "tests/api/test_isolation.py",
    "tests/booking/test_refunds.py",
    "tests/booking/test_invariants.py",
    "tests/adapters/mongo/test_unavailable.py",
    "tests/booking/test_machine.py",
)
"""The longest modules (20 to 120 s): one that came last would be waited for while the other workers are idle."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long modules first; within a module and among the others the order stays."""
    assert [name for name in LONGEST_FIRST if not (ROOT / name).is_file()] == []
    places = {ROOT / name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
