"""What follows a restore waits as long as it must, tells what it knows, and can be done again by itself."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

import pytest

from cli.output import CommandError
from cli.promises import promises_kept
from models.backups import BackupError
from models.promises import PromiseKind
from tests.disaster.support import Place, Town, typed

LONGER_THAN_A_REQUEST_MAY: Final = 6_500
"""Milliseconds."""


async def test_what_takes_longer_than_a_request_may_is_waited_for(lived_in: Place) -> None:
    """Of a large database the first look takes more than the seconds that an API waits."""
    database, now = lived_in.owner[lived_in.data], datetime.now(UTC)
    database["of_leaves"].insert_one({"_id": "lve_1", "state": "taking"})
    database["leaves"].drop()
    wait = {"body": f"function() {{ sleep({LONGER_THAN_A_REQUEST_MAY}); return 1 }}", "args": [], "lang": "js"}
    pipeline = [{"$addFields": {"waited": {"$function": wait}}}]
    database.create_collection("leaves", viewOn="of_leaves", pipeline=pipeline)
    database.command("collMod", "refunds", validator={})
    database["refunds"].insert_one({"_id": "rfd_1", "state": "pending", "is_open": True, "updated_at": now})
    kept = await promises_kept(lived_in.settings)
    assert (kept.begun_again[PromiseKind.LEAVE], kept.begun_again[PromiseKind.REFUND]) == (1, 1)


# Who does not answer is waited for.
@pytest.mark.timeout(240)
def test_what_failed_after_the_restore_is_done_by_itself(lived_in: Place, town: Town) -> None:
    assert typed(lived_in, "backup").exit_code == 0
    fresh = town.place()
    owner = {"VISITNOW_MONGODB_OWNER_URL": fresh.target.owner_url}
    nothing = typed(fresh, "restore", "--finish", **owner)
    assert (nothing.exit_code, "nothing was restored here" in nothing.output) == (1, True), nothing.output
    failed = typed(fresh, "restore", VISITNOW_TEMPORAL_ADDRESS="127.0.0.1:9", **owner)
    assert failed.exit_code == 1
    assert "2 keys; 6 files that were missing" in failed.output
    assert "0 deletions since then were made again" in failed.output
    assert "the payment gateway did not say what moved since" in failed.output
    assert "`visitnow restore --finish` goes on from here" in failed.output
    assert "is not empty" in typed(fresh, "restore", **owner).output
    done = typed(fresh, "restore", "--finish", **owner)
    assert done.exit_code == 0, done.output
    assert "open things have their workflow" in done.output
    assert "entries of 3 tenants under 2 seals were looked at" in done.output
    first, second = sorted([one["why"] for one in fresh.all("audit") if one["action"] == "backup.restored"])
    assert (first.startswith("as it was at "), second) == (True, "what follows it, once more")


@pytest.mark.parametrize("half", ["data", "keys"])
async def test_half_a_restore_is_neither_gone_on_with_nor_backed_up(lived_in: Place, town: Town, half: str) -> None:
    """A vault in which some keys are back looks like one that was never lost."""
    await lived_in.back_up()
    fresh = town.place()
    await fresh.restore()
    where = fresh.data if half == "data" else fresh.settings.vault_database
    fresh.owner[where]["restoring"].insert_one({"_id": "20310303T043000Z-abc"})
    for words in (["restore"], ["restore", "--finish"]):
        refused = await asyncio.to_thread(typed, fresh, *words, VISITNOW_MONGODB_OWNER_URL=fresh.target.owner_url)
        assert refused.exit_code == 1
        assert f"a restore into {where} began and did not come to its end: drop {where}, nothing" in refused.output
    with pytest.raises(BackupError, match=f"{where} is being restored, or was and not to its end"):
        await fresh.back_up()


async def test_a_restore_that_dies_among_the_keys_is_half_a_restore(lived_in: Place, town: Town) -> None:
    taken = await lived_in.back_up()
    [part] = taken.vault.parts
    (town.folder / "vault-backups" / part.name).unlink()
    fresh = town.place()
    with pytest.raises(BackupError, match="is gone"):
        await fresh.restore()
    both = f"{fresh.data} and {fresh.settings.vault_database}"
    with pytest.raises(CommandError, match=f"a restore into {both} began and did not come to its end: drop {both}"):
        await fresh.restore()
    fresh.owner.drop_database(fresh.data)
    with pytest.raises(CommandError, match=f"a restore into {fresh.settings.vault_database} began"):
        await fresh.restore()
