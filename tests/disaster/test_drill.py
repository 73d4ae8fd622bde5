"""The drill, played to its end on a stack of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.stack import visitnow


# Half a minute alone; a machine that runs other tests beside it takes its time.
@pytest.mark.timeout(300)
def test_what_was_lost_is_restored_and_lives_on(tmp_path: Path) -> None:
    told = visitnow(tmp_path, "drill")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "recovery time" in told.stdout
    assert "recovery point" in told.stdout
    assert re.search(r"\d+ entries of \d+ tenants under \d+ seals were looked at", told.stdout)
    assert "was cancelled after the restore, and its money went back" in told.stdout
    # Made after the backup: its workflow is there, its document is not, and somebody is told so.
    assert re.search(r"booking:apt_\S+ runs for an appointment that the database does not have", told.stdout)
    assert re.search(r"\d+ paise are captured by pay_\S+ for apt_\S+, which the database does not have", told.stdout)
    # Cancelled after the backup: the visit is back, its refund is in the books again, and somebody is told so.
    assert "1 refunds since then were booked again" in told.stdout
    assert re.search(r"apt_\S+ was cancelled after the backup, and is cancelled again", told.stdout)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault_matrix
@pytest.mark.timeout(300)
def test_visits_whose_workflows_were_lost_too_are_looked_after_again(tmp_path: Path) -> None:
    told = visitnow(tmp_path, "drill", "--temporal")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "0 open things have their workflow, 1 are begun again" in told.stdout
    assert "1 refunds since then were booked again" in told.stdout
    assert "was cancelled after the restore, and its money went back" in told.stdout
