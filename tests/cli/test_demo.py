"""The whole story, told once to its end on a stack of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.stack import visitnow


# Half a minute alone; a machine that runs other tests beside it takes its time.
@pytest.mark.timeout(300)
def test_every_act_ends_as_the_story_says(tmp_path: Path) -> None:
    told = visitnow(tmp_path, "demo", "--once")
    assert told.returncode == 0, told.stdout + told.stderr
    for act in (
        "A booking, paid",
        "Nobody pays",
        "Paid too late",
        "Cancelled in time",
        "Cancelled late",
        "Fifty",
        "A visit",
        "A farewell",
    ):
        assert act in told.stdout
    assert told.stdout.count("/workflows/booking:apt_") == 7
    assert told.stdout.count("was erased since") == 1, "the visit went with its patient"
    assert told.stdout.count("/workflows/deletion:del_") == 1
    assert list(tmp_path.iterdir()) == []
