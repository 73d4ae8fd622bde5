"""The commands as an operator types them, with the settings of the environment."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from tests.disaster.support import Place, Town, typed


def test_a_backup_is_made_listed_and_restored(lived_in: Place, town: Town) -> None:
    made = typed(lived_in, "backup")
    assert made.exit_code == 0, made.output
    assert re.search(r"documents .* as they were at .* 2 keys, 6 files", made.output)
    [noted] = [one for one in lived_in.all("audit") if one["action"] == "backup.made"]
    assert noted["target"].removeprefix("backup:") in made.output
    assert typed(lived_in, "backup", "list", "--within", "1").exit_code == 0
    fresh = town.place(temporal_namespace=lived_in.settings.temporal_namespace)
    restored = typed(fresh, "restore", VISITNOW_MONGODB_OWNER_URL=fresh.target.owner_url)
    assert restored.exit_code == 0, restored.output
    assert "2 keys; 6 files that were missing" in restored.output
    assert "the object storage was lost too" in restored.output
    assert "35 entries of 3 tenants under 2 seals were looked at" in restored.output
    assert "the payment gateway did not say what moved since" in restored.output
    [noted] = [one for one in fresh.all("audit") if one["action"] == "backup.restored"]
    assert noted["why"].startswith("as it was at ")
    again = typed(fresh, "restore", VISITNOW_MONGODB_OWNER_URL=fresh.target.owner_url)
    assert again.exit_code == 1
    assert "is not empty" in again.output


def test_a_newcomer_has_a_backup_on_the_first_day(lived_in: Place, town: Town) -> None:
    """Another installation's backups at the same place say nothing about this one."""
    assert typed(lived_in, "backup").exit_code == 0
    fresh = town.place()
    unmade = typed(fresh, "backup")
    assert (unmade.exit_code, "visitnow migrate" in unmade.output) == (1, True), unmade.output
    assert typed(fresh, "migrate", VISITNOW_MONGODB_OWNER_URL=fresh.target.owner_url).exit_code == 0
    made = typed(fresh, "backup")
    assert made.exit_code == 0, made.output
    assert re.search(r"documents .* as they were at .* 0 keys, 0 files", made.output)


def test_without_a_backup_there_is_an_alarm(lived_in: Place) -> None:
    late = typed(lived_in, "backup", "list", "--within", "1")
    assert late.exit_code == 1
    assert "no backup of the data and the vault since" in late.output
    assert typed(lived_in, "restore").exit_code == 1


def test_who_makes_backups_can_change_nothing(lived_in: Place) -> None:
    url = lived_in.servers.reader_mongodb_url("admin")
    person: dict[str, Any] = {"_id": "usr_3"}
    with MongoClient[dict[str, Any]](url, timeoutMS=10_000) as reader:
        for database, name in ((lived_in.data, "users"), (lived_in.settings.vault_database, "__keyVault")):
            assert reader[database][name].count_documents({}) == 2
            with pytest.raises(OperationFailure, match="not authorized"):
                reader[database][name].insert_one(person)
            with pytest.raises(OperationFailure, match="not authorized"):
                reader[database][name].delete_many({})
