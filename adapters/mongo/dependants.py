"""Those whom a patient books for: who they are sealed under the patient's own key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time
from typing import Final

from pymongo import ASCENDING, IndexModel

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.encryption import ERASED, Vault
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, scoped
from adapters.mongo.writes import put
from models.data_classes import DataClass
from models.dependants import MOST_DEPENDANTS, Dependant
from models.identity import PLATFORM, Scope

DECLARED: Final = Declared(
    "dependants", [IndexModel([("subject_id", ASCENDING), ("_id", ASCENDING)], name="of_subject")]
)


class MongoDependants:
    """Implements `models.identity_ports.Dependants` on `dependants`; their subject is whoever answers for them."""

    def __init__(self, database: Database, vault: Vault) -> None:
        """`vault` seals them under the account's identity key."""
        self._dependants: Collection = database["dependants"]
        self._vault = vault

    @answering
    async def put(self, scope: Scope, dependant: Dependant) -> None:
        """Write one by its id."""
        # BSON knows instants only: a birthday is kept as its first one in UTC.
        born = datetime.combine(dependant.date_of_birth, time.min, UTC)
        content: Document = {"name": dependant.name, "date_of_birth": born, "relation": dependant.relation}
        sealed = await self._vault.seal(dependant.subject_id, DataClass.IDENTITY, content)
        document: Document = {
            "tenant_id": PLATFORM,
            "subject_id": dependant.subject_id,
            "sealed": {"identity": sealed},
        }
        await put(self._dependants, scope, dependant.id, document)

    @answering
    async def of_subject(self, scope: Scope, subject_id: str) -> list[Dependant]:
        """All of somebody's, by id; those whose key is gone are left out."""
        found = self._dependants.find(
            scoped(scope, {"subject_id": subject_id}),
            sort=[("_id", ASCENDING)],
            limit=MOST_DEPENDANTS,
            comment=reason_of(scope),
        )
        return await self._opened(await found.to_list(None))

    @answering
    async def find(self, scope: Scope, dependant_id: str) -> Dependant | None:
        """One of them."""
        found = await self._dependants.find_one(scoped(scope, {"_id": dependant_id}), comment=reason_of(scope))
        return next(iter(await self._opened([found] if found else [])), None)

    @answering
    async def remove(self, scope: Scope, dependant_id: str) -> bool:
        """Forget one; False where there is none."""
        done = await self._dependants.delete_one(scoped(scope, {"_id": dependant_id}), comment=reason_of(scope))
        return done.deleted_count == 1

    async def _opened(self, found: Sequence[Document]) -> list[Dependant]:
        sealed = [one["sealed"] for one in found]
        opened = await self._vault.open([one["identity"] if isinstance(one, dict) else None for one in sealed])
        return [
            Dependant.model_validate(
                {**content, "date_of_birth": _day(content["date_of_birth"]), "id": one["_id"]}
                | {"subject_id": one["subject_id"]}
            )
            for one, content in zip(found, opened, strict=True)
            if content is not None and content is not ERASED
        ]


def _day(value: object) -> object:
    return value.date() if isinstance(value, datetime) else value
