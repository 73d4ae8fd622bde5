"""Those whom a patient books for: who they are sealed under the patient's own key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time
from typing import Final

from pymongo import ASCENDING, IndexModel

from adapters.mongo.appointment_documents import sealed_intake
from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.encryption import ERASED, Opened, Vault
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, scoped
from adapters.mongo.writes import put
from models.booking import Intake
from models.data_classes import DataClass
from models.dependants import MOST_DEPENDANTS, Dependant, meant_by
from models.identity import PLATFORM, Scope

DECLARED: Final = Declared(
    "dependants", [IndexModel([("subject_id", ASCENDING), ("_id", ASCENDING)], name="of_subject")]
)


class MongoDependants:
    """Implements `models.identity_ports.Dependants` on `dependants`; their subject is whoever answers for them."""

    def __init__(self, database: Database, vault: Vault) -> None:
        """`vault` seals them under the account's identity key."""
        self._dependants: Collection = database["dependants"]
        self._appointments: Collection = database["appointments"]
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
    async def mark_visits(self, scope: Scope, dependant: Dependant) -> int:
        """A read of the account's visits, a look into the vault for their words, and one conditional update."""
        of_the_account: Document = {"subject_id": dependant.subject_id, "dependant_id": None}
        found = await self._appointments.find(
            scoped(scope, {**of_the_account, "sealed.clinical": {"$exists": True}}),
            {"sealed.clinical": 1},
            comment=reason_of(scope),
        ).to_list(None)
        if not found:
            return 0
        everyone = await self.of_subject(scope, dependant.subject_id)
        told = await self._vault.open([sealed_intake(one) for one in found])
        theirs = [
            one["_id"] for one, words in zip(found, told, strict=True) if _meant_in(words, everyone) == dependant.id
        ]
        done = await self._appointments.update_many(
            scoped(scope, {**of_the_account, "_id": {"$in": theirs}}),
            {"$set": {"dependant_id": dependant.id}},
            comment=reason_of(scope),
        )
        return done.modified_count

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


def _meant_in(words: Opened, everyone: Sequence[Dependant]) -> str | None:
    """For whom of them a visit was booked, by what was said then."""
    patient = None if words is None or words is ERASED else Intake.model_validate(words).patient
    return None if patient is None else meant_by(patient, everyone)


def _day(value: object) -> object:
    return value.date() if isinstance(value, datetime) else value
