"""`visitnow worker`: which families a process serves, and who may ask for faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.settings import Profile, Settings
from cli import worker
from cli.accounts import ACCOUNTS, mint
from cli.output import CommandError
from workers.main import Family

# A production profile that starts needs a dozen settings; what is asked here is only the profile.
PRODUCTION = Settings.model_construct(profile=Profile.PRODUCTION)


@pytest.mark.parametrize(
    ("queue", "relay", "families"),
    [
        ("all", True, {"booking", "gateway", "notify", "bulk", "relay"}),
        ("all", False, {"booking", "gateway", "notify", "bulk"}),
        ("booking", True, {"booking", "relay"}),
        ("booking", False, {"booking"}),
        ("gateway", True, {"gateway"}),
        ("notify", True, {"notify"}),
        ("bulk", True, {"bulk"}),
        ("relay", True, {"relay"}),
        ("relay", False, {"relay"}),
    ],
)
def test_the_relay_goes_with_the_bookings_unless_refused(queue: str, families: set[str], *, relay: bool) -> None:
    served = worker.families(worker.Queue(queue), relay=relay)
    assert len(served) == len(set(served))
    assert set(served) == {Family(one) for one in families}


def test_faults_are_for_development_only(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="development"):
        worker._faults(PRODUCTION, tmp_path)
    assert worker._faults(PRODUCTION, None) is None
    assert worker._faults(Settings(), tmp_path) is not None


def test_tokens_are_minted_in_development_only() -> None:
    with pytest.raises(CommandError, match="development"):
        mint(PRODUCTION, ACCOUNTS["admin"])
