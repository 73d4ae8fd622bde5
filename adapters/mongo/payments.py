"""Captured payments, refunds, the ledger, and what the gateway told us."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from bson.binary import Binary
from pymongo import ASCENDING, IndexModel, ReturnDocument, WriteConcern
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, answering, literal
from adapters.mongo.encryption import ERASED, Vault
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, require, scoped
from models.data_classes import DataClass
from models.errors import not_found
from models.identity import Clinics, OwnProvider, Scope, System, Tenant
from models.payments import (
    REFUND_TRANSITIONS,
    Capture,
    LedgerTransaction,
    RefundRecord,
    RefundState,
    WebhookEvent,
)

_OPEN_STATES: Final = sorted(state for state, after in REFUND_TRANSITIONS.items() if after)
_INBOX: Final = System("webhooks arrive for all tenants")
_FIELDS: Final = tuple(name for name in RefundRecord.model_fields if name != "id")

PAYMENTS: Final = Declared("payments", (IndexModel([("subject_id", ASCENDING)], name="subject"),))
LEDGER: Final = Declared(
    "ledger",
    validator={
        "$jsonSchema": {
            "required": ["tenant_id", "appointment_id", "kind", "lines", "at"],
            "properties": {
                "lines": {
                    "bsonType": "array",
                    "minItems": 2,
                    "items": {
                        "bsonType": "object",
                        "required": ["account", "amount", "item"],
                        "properties": {"amount": {"bsonType": ["int", "long"]}},
                    },
                },
            },
        },
        "$expr": {"$eq": [{"$sum": "$lines.amount"}, 0]},
    },
)
REFUNDS: Final = Declared(
    "refunds",
    (
        IndexModel([("appointment_id", ASCENDING), ("created_at", ASCENDING), ("_id", ASCENDING)], name="appointment"),
        IndexModel([("subject_id", ASCENDING)], name="subject"),
        IndexModel(
            [("tenant_id", ASCENDING), ("created_at", ASCENDING)],
            name="words",
            partialFilterExpression={"sealed": {"$type": "object"}},
        ),
        IndexModel(
            [("gateway_refund_id", ASCENDING)],
            name="gateway",
            unique=True,
            partialFilterExpression={"gateway_refund_id": {"$gt": ""}},
        ),
        IndexModel(
            [("_id", ASCENDING), ("updated_at", ASCENDING)], name="open", partialFilterExpression={"is_open": True}
        ),
    ),
)
INBOX: Final = Declared(
    "webhook_inbox",
    (
        IndexModel([("stored_at", ASCENDING)], name="waiting", partialFilterExpression={"waiting": True}),
        IndexModel([("stored_at", ASCENDING)], name="age"),
    ),
)


class MongoPayments:
    """Implements `models.ports.Payments` on `payments`, `refunds` and `ledger`.

    Money belongs to a tenant and a patient. Who may see only some clinics or one doctor's appointments is shown the
    refunds of an appointment that they may see, and nothing else here.
    """

    def __init__(self, database: Database, vault: Vault) -> None:
        """`vault` seals what staff write beside a refund."""
        self._payments: Collection = database["payments"]
        self._refunds: Collection = database["refunds"]
        self._ledger: Collection = database["ledger"]
        self._appointments: Collection = database["appointments"]
        self._vault = vault

    @answering
    async def record_capture(self, scope: Scope, capture: Capture, transaction: LedgerTransaction) -> None:
        """Two inserts at once; whichever is missing after a crash is made by the retry."""
        payment = {
            "_id": capture.payment_id,
            **capture.model_dump(exclude={"payment_id"}),
            "version": 1,
            "created_at": transaction.at,
            "updated_at": transaction.at,
        }
        require(scope, payment)
        _same_tenant(capture.tenant_id, transaction)
        await asyncio.gather(_insert_once(self._payments, payment), self._post(transaction))

    @answering
    async def open_refund(self, scope: Scope, refund: RefundRecord, note: str | None, at: datetime) -> None:
        """One insert; the note is sealed under the patient's financial key."""
        document: Document = {
            "_id": refund.id,
            **refund.model_dump(exclude={"id"}),
            "is_open": refund.state in _OPEN_STATES,
            "version": 1,
            "created_at": at,
            "updated_at": at,
        }
        require(scope, document)
        if note is not None:
            sealed = await self._vault.seal(refund.subject_id, DataClass.FINANCIAL, {"note": note})
            document["sealed"] = {"financial": sealed}
        await _insert_once(self._refunds, document)

    @answering
    async def refund(self, scope: Scope, refund_id: str) -> RefundRecord | None:
        """One read by id."""
        return await self._one(scope, {"_id": refund_id})

    @answering
    async def settle_refund(
        self,
        scope: Scope,
        refund_id: str,
        state: RefundState,
        gateway_refund_id: str | None,
        transaction: LedgerTransaction | None,
        at: datetime,
    ) -> RefundRecord:
        """The ledger first, then the state. Raises `not_found`; a word that comes too late changes nothing.

        After a crash in between, the refund is still open: the activity's retry, or the sweep of open refunds, comes
        back, finds the transaction posted and moves the state. The other way round a refund could be final with its
        transaction missing, and nobody would ever look at it again.
        """
        if transaction is not None:
            record = await self._one(scope, {"_id": refund_id})
            if record is None:
                raise not_found()
            if state is not record.state and state not in REFUND_TRANSITIONS[record.state]:
                return record
            _same_tenant(record.tenant_id, transaction)
            await self._post(transaction)
        before = sorted({state} | {source for source, after in REFUND_TRANSITIONS.items() if state in after})
        values: Document = {
            "state": literal(state),
            "is_open": state in _OPEN_STATES,
            "gateway_refund_id": {"$ifNull": ["$gateway_refund_id", literal(gateway_refund_id)]},
            "version": {"$add": ["$version", 1]},
            "updated_at": literal(at),
        }
        after = await self._refunds.find_one_and_update(
            scoped(scope, {"_id": refund_id, "state": {"$in": before}}),
            [{"$set": values}],
            _FIELDS,
            return_document=ReturnDocument.AFTER,
            comment=reason_of(scope),
        )
        record = _to_refund(after) if after else await self._one(scope, {"_id": refund_id})
        if record is None:
            raise not_found()
        return record

    @answering
    async def refunds_of(self, scope: Scope, appointment_id: str) -> list[tuple[RefundRecord, str | None]]:
        """One indexed read; None for a note that was erased as well."""
        if isinstance(scope, Clinics | OwnProvider):
            seen = await self._appointments.find_one(scoped(scope, {"_id": appointment_id}), {"_id": 1})
            if seen is None:
                return []
            scope = Tenant(scope.tenant_id)
        found = await self._refunds.find(
            scoped(scope, {"appointment_id": appointment_id}),
            (*_FIELDS, "sealed"),
            sort=[("created_at", ASCENDING), ("_id", ASCENDING)],
            comment=reason_of(scope),
        ).to_list(None)
        opened = await self._vault.open([_sealed_note(one) for one in found])
        return [
            (_to_refund(one), None if note is None or note is ERASED else str(note["note"]))
            for one, note in zip(found, opened, strict=True)
        ]

    @answering
    async def open_refunds(self, scope: Scope, before: datetime, after: str, limit: int) -> list[RefundRecord]:
        """By id, over an index that holds only refunds without a last word."""
        found = self._refunds.find(
            scoped(scope, {"is_open": True, "updated_at": {"$lt": before}, "_id": {"$gt": after}}),
            _FIELDS,
            sort=[("_id", ASCENDING)],
            limit=limit,
            hint="open",  # the index of `_id` has the same order, but holds every refund there ever was
            comment=reason_of(scope),
        )
        return [_to_refund(one) for one in await found.to_list(None)]

    @answering
    async def by_gateway_refund(self, scope: Scope, gateway_refund_id: str) -> RefundRecord | None:
        """One read by a unique index."""
        return await self._one(scope, {"gateway_refund_id": gateway_refund_id})

    async def _post(self, transaction: LedgerTransaction) -> None:
        await _insert_once(self._ledger, {"_id": transaction.id, **transaction.model_dump(exclude={"id"})})

    async def _one(self, scope: Scope, query: Document) -> RefundRecord | None:
        found = await self._refunds.find_one(scoped(scope, query), _FIELDS, comment=reason_of(scope))
        return None if found is None else _to_refund(found)


class MongoWebhookInbox:
    """Implements `models.ports.WebhookInbox` on `webhook_inbox`; no tenant is known yet when a webhook arrives."""

    def __init__(self, database: Database) -> None:
        """The inbox of all tenants."""
        self._inbox: Collection = database["webhook_inbox"]
        # A note that a crash of the primary loses costs one more passing on, which changes nothing.
        self._noted: Collection = self._inbox.with_options(write_concern=WriteConcern(w=1))

    @answering
    async def store(self, event: WebhookEvent) -> bool:
        """One insert under the gateway's event id."""
        document = {
            "_id": event.id,
            **event.model_dump(exclude={"id"}),
            "waiting": True,
            "stored_at": datetime.now(UTC),
        }
        return await _insert_once(self._inbox, document)

    @answering
    async def passed_on(self, event_id: str) -> None:
        """One update; once only."""
        await self._noted.update_one(
            {"_id": event_id, "waiting": True},
            {"$unset": {"waiting": ""}, "$currentDate": {"passed_on_at": True}},
            comment=reason_of(_INBOX),
        )

    @answering
    async def waiting(self, before: datetime, limit: int) -> list[WebhookEvent]:
        """Over an index that holds only events that wait."""
        found = self._inbox.find(
            {"waiting": True, "stored_at": {"$lt": before}},
            {"waiting": 0, "stored_at": 0},
            sort=[("stored_at", ASCENDING)],
            limit=limit,
            comment=reason_of(_INBOX),
        )
        return [_to_event(one) for one in await found.to_list(None)]


async def _insert_once(collection: Collection, document: Document) -> bool:
    """Whether it was not there before."""
    try:
        await collection.insert_one(document)
    except DuplicateKeyError:
        return False
    return True


def _same_tenant(tenant_id: str, transaction: LedgerTransaction) -> None:
    if transaction.tenant_id != tenant_id:
        raise not_found()


def _sealed_note(document: Document) -> Binary | None:
    sealed = document.get("sealed")
    return sealed.get("financial") if isinstance(sealed, dict) else None


def _to_refund(document: Document) -> RefundRecord:
    return RefundRecord.model_validate({"id": document["_id"], **{name: document[name] for name in _FIELDS}})


def _to_event(document: Document) -> WebhookEvent:
    fields = {name: value for name, value in document.items() if name != "_id"}
    return WebhookEvent.model_validate({"id": document["_id"], **fields})


DECLARED: Final[Sequence[Declared]] = (PAYMENTS, LEDGER, REFUNDS, INBOX)
