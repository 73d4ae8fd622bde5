"""The summaries of visits: each version a document of its own that is written once, sealed under the patient's key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.encryption import ERASED, Vault
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, require, scoped
from models.consultation import NOTHING_YET, Record, SummaryVersion
from models.data_classes import DataClass
from models.errors import Code, VisitNowError
from models.identity import Scope

DECLARED: Final = Declared(
    "consultations",
    (
        # Unique by themselves, since versions are part of the ids too: two doctors' hands never write the same one.
        IndexModel(
            [("appointment_id", ASCENDING), ("summary_version", DESCENDING)], name="of_appointment", unique=True
        ),
        IndexModel([("subject_id", ASCENDING)], name="subject"),
        IndexModel([("tenant_id", ASCENDING), ("created_at", ASCENDING)], name="age"),
    ),
)

_PLAIN: Final = ("appointment_id", "tenant_id", "clinic_id", "provider_id", "subject_id", "author_id")
_LATEST: Final = 2**31


class MongoConsultations:
    """Implements `models.consultation_ports.Consultations` on the collection `consultations`."""

    def __init__(self, database: Database, vault: Vault) -> None:
        """`vault` seals what was written."""
        self._consultations: Collection = database["consultations"]
        self._vault = vault

    @answering
    async def add(self, scope: Scope, version: SummaryVersion) -> None:
        """One insert. Raises `not_found` where the scope does not reach it, `stale` where it is not the next one."""
        if version.record is None:
            msg = "a version without its record"
            raise ValueError(msg)
        document: Document = {
            "_id": f"{version.appointment_id}:{version.version}",
            **{name: getattr(version, name) for name in _PLAIN},
            "summary_version": version.version,
            "version": 1,
            "created_at": version.at,
            "updated_at": version.at,
        }
        require(scope, document)
        if await self._newest_number(scope, version.appointment_id) != version.version - 1:
            raise VisitNowError(Code.STALE)
        content = version.record.model_dump(mode="json")
        sealed = await self._vault.seal(version.subject_id, DataClass.CLINICAL, content)
        try:
            await self._consultations.insert_one({**document, "sealed": {"clinical": sealed}})
        except DuplicateKeyError as error:
            raise VisitNowError(Code.STALE) from error

    @answering
    async def newest(self, scope: Scope, appointment_id: str) -> SummaryVersion | None:
        """One indexed read."""
        return next(iter(await self._some(scope, appointment_id, {"$lt": _LATEST}, 1)), None)

    @answering
    async def find(self, scope: Scope, appointment_id: str, version: int) -> SummaryVersion | None:
        """One indexed read."""
        return next(iter(await self._some(scope, appointment_id, version, 1)), None)

    @answering
    async def before(self, scope: Scope, appointment_id: str, version: int, limit: int) -> list[SummaryVersion]:
        """One indexed read, and one look into the vault for all of it."""
        return await self._some(scope, appointment_id, {"$lt": version}, limit)

    async def _newest_number(self, scope: Scope, appointment_id: str) -> object:
        found = await self._consultations.find_one(
            scoped(scope, {"appointment_id": appointment_id}),
            {"summary_version": 1},
            sort=[("summary_version", DESCENDING)],
            comment=reason_of(scope),
        )
        return NOTHING_YET if found is None else found["summary_version"]

    async def _some(self, scope: Scope, appointment_id: str, version: object, limit: int) -> list[SummaryVersion]:
        found = self._consultations.find(
            scoped(scope, {"appointment_id": appointment_id, "summary_version": version}),
            sort=[("summary_version", DESCENDING)],
            limit=limit,
            comment=reason_of(scope),
        )
        return await self._opened(await found.to_list(None))

    async def _opened(self, found: Sequence[Document]) -> list[SummaryVersion]:
        sealed = [one["sealed"] for one in found]
        opened = await self._vault.open([one["clinical"] if isinstance(one, dict) else None for one in sealed])
        return [
            SummaryVersion.model_validate(
                {
                    **{name: one[name] for name in _PLAIN},
                    "version": one["summary_version"],
                    "at": one["created_at"],
                    "record": None if content is ERASED or content is None else Record.model_validate(content),
                }
            )
            for one, content in zip(found, opened, strict=True)
        ]
