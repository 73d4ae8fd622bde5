"""Applications: what they say of people sealed under a key of their own, each step one conditional update."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from bson.binary import Binary
from pymongo import ASCENDING, IndexModel, ReturnDocument, UpdateOne
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, answering, literal
from adapters.mongo.encryption import ERASED, Opened, Vault
from adapters.mongo.schema import OUTBOX, Declared
from adapters.mongo.scopes import reason_of, require, scoped
from models.cursor import decode_cursor, encode_cursor
from models.data_classes import DataClass
from models.errors import Code, VisitNowError, not_found
from models.identity import PLATFORM, Scope, System
from models.onboarding import (
    EDITABLE,
    Application,
    ApplicationDetails,
    ApplicationQuery,
    ApplicationState,
    DocumentRef,
    Move,
    Moved,
    OnboardingActor,
    OnboardingActorKind,
    OnboardingEvent,
    OnboardingEventType,
    sources_of,
)
from models.ports import Page

_RELAY: Final = System("the outbox relay serves all applications")
UNPROVED_LIFETIME: Final = timedelta(days=7)
"""A draft whose mailbox nobody proved is forgotten after this."""

MAX_DOCUMENTS: Final = 20

DECLARED: Final = Declared(
    "applications",
    (
        IndexModel([("tenant_id", ASCENDING), ("created_at", ASCENDING), ("_id", ASCENDING)], name="newest"),
        IndexModel(
            [("tenant_id", ASCENDING), ("state", ASCENDING), ("created_at", ASCENDING), ("_id", ASCENDING)],
            name="by_state",
        ),
        IndexModel(
            [("tenant_id", ASCENDING), ("due_at", ASCENDING), ("_id", ASCENDING)],
            name="due",
            partialFilterExpression={"due_at": {"$exists": True}},
        ),
        IndexModel([("state", ASCENDING), ("updated_at", ASCENDING)], name="age"),
        OUTBOX,
        IndexModel(
            [("lapses_at", ASCENDING)], name="unproved", partialFilterExpression={"lapses_at": {"$exists": True}}
        ),
    ),
)


class MongoApplications:
    """Implements `models.onboarding_ports.Applications`; an application is its own subject."""

    def __init__(self, database: Database, vault: Vault) -> None:
        """`vault` seals who the owner and the practitioner are."""
        self._applications: Collection = database["applications"]
        self._vault = vault

    @answering
    async def insert(
        self, scope: Scope, application_id: str, details: ApplicationDetails, body_hash: str, at: datetime
    ) -> bool:
        """One insert; a draft whose mailbox is never proved removes itself."""
        document: Document = {
            "_id": application_id,
            "tenant_id": PLATFORM,
            "subject_id": application_id,
            "body_hash": body_hash,
            "state": ApplicationState.DRAFT,
            "version": 1,
            "email_verified": False,
            **_in_clear(details),
            "documents": [],
            "findings": [],
            "notes": {},
            "history": [],
            "outbox": [],
            "entered_at": at,
            "created_at": at,
            "updated_at": at,
            "lapses_at": at + UNPROVED_LIFETIME,
        }
        require(scope, document)
        document["sealed"] = {"identity": await self._sealed(application_id, details)}
        try:
            await self._applications.insert_one(document)
        except DuplicateKeyError:
            found = await self._look(scope, application_id, "body_hash")
            if found["body_hash"] != body_hash:
                raise VisitNowError(Code.IDEMPOTENCY_KEY_REUSED) from None
            return False
        return True

    @answering
    async def find(self, scope: Scope, application_id: str) -> Application | None:
        """One read by id and one look into the vault."""
        found = await self._applications.find_one(
            scoped(scope, {"_id": application_id}), {"outbox": 0}, comment=reason_of(scope)
        )
        return None if found is None else (await self._opened([found]))[0]

    @answering
    async def amend(
        self, scope: Scope, application_id: str, version: int, details: ApplicationDetails, at: datetime
    ) -> None:
        """One conditional update of the version that was read."""
        await self._look(scope, application_id)
        values: Document = {name: literal(value) for name, value in _in_clear(details).items()}
        values["sealed"] = literal({"identity": await self._sealed(application_id, details)})
        done = await self._applications.update_one(
            scoped(scope, {"_id": application_id, "version": version, "state": {"$in": sorted(EDITABLE)}}),
            _told(values, f"{application_id}:amended:{version}", OnboardingEventType.AMENDED, at, application_id),
            comment=reason_of(scope),
        )
        if not done.matched_count:
            raise VisitNowError(Code.STATE_CONFLICT)

    @answering
    async def verify_email(self, scope: Scope, application_id: str, at: datetime) -> None:
        """One conditional update; from now on the draft does not remove itself."""
        event = f"{application_id}:email"
        done = await self._applications.update_one(
            scoped(scope, {"_id": application_id, "email_verified": False}),
            _told(
                {"email_verified": True, "lapses_at": "$$REMOVE"},
                event,
                OnboardingEventType.EMAIL_VERIFIED,
                at,
                application_id,
            ),
            comment=reason_of(scope),
        )
        if not done.matched_count:
            await self._look(scope, application_id)

    @answering
    async def add_document(self, scope: Scope, application_id: str, document: DocumentRef, at: datetime) -> None:
        """One conditional update; the file's name is sealed."""
        await self._look(scope, application_id)
        name = await self._vault.seal(application_id, DataClass.IDENTITY, {"name": document.name})
        entry: Document = {**document.model_dump(exclude={"name"}), "name": name}
        event = f"{application_id}:document:{document.id}"
        done = await self._applications.update_one(
            scoped(
                scope,
                {
                    "_id": application_id,
                    "documents.id": {"$ne": document.id},
                    f"documents.{MAX_DOCUMENTS - 1}": {"$exists": False},
                    "state": {"$in": sorted(EDITABLE)},
                },
            ),
            _told(
                {"documents": {"$concatArrays": ["$documents", [literal(entry)]]}},
                event,
                OnboardingEventType.DOCUMENT_ADDED,
                at,
                application_id,
            ),
            comment=reason_of(scope),
        )
        if not done.matched_count:
            found = await self._look(scope, application_id, "documents.id")
            if {"id": document.id} not in _list(found["documents"]):
                raise VisitNowError(Code.STATE_CONFLICT)

    @answering
    async def keep_note(self, scope: Scope, application_id: str, note_id: str, text: str) -> None:
        """Sealed: such words may tell of anybody. Raises `not_found`."""
        await self._look(scope, application_id)
        sealed = await self._vault.seal(application_id, DataClass.IDENTITY, {"note": text})
        await self._applications.update_one(
            scoped(scope, {"_id": application_id}), {"$set": {f"notes.{note_id}": sealed}}, comment=reason_of(scope)
        )

    @answering
    async def advance(self, scope: Scope, step: Move) -> Moved:
        """One conditional update; a step that was taken before, or may not be, changes nothing."""
        query: Document = {"_id": step.application_id, "history.id": {"$ne": step.event_id}}
        if step.to is not None:
            query["state"] = {"$in": sorted(sources_of(step.to))}
        after = await self._applications.find_one_and_update(
            scoped(scope, query),
            _advanced(step),
            {"state": 1},
            return_document=ReturnDocument.AFTER,
            comment=reason_of(scope),
        )
        applied = bool(after)
        if not after:
            after = await self._look(scope, step.application_id, "state", "history.id")
            applied = {"id": step.event_id} in _list(after["history"])
        return Moved.model_validate({"applied": applied, "state": after["state"]})

    @answering
    async def page(self, scope: Scope, query: ApplicationQuery, cursor: str | None) -> Page[Application]:
        """One indexed read of the page and one look into the vault for all of it."""
        field, order = ("created_at", -1) if query.overdue_at is None else ("due_at", 1)
        found = await self._applications.find(
            scoped(scope, _listed(query, cursor)),
            {"outbox": 0},
            sort=[(field, order), ("_id", order)],
            limit=query.limit + 1,
            comment=reason_of(scope),
        ).to_list(None)
        items = await self._opened(found[: query.limit])
        if len(found) <= query.limit:
            return Page(items, None)
        last = items[-1]
        at = last.created_at if query.overdue_at is None else last.due_at
        return Page(items, encode_cursor(at or last.created_at, last.id))

    @answering
    async def events(self, limit: int) -> list[OnboardingEvent]:
        """Oldest first, each application's in the order in which they happened."""
        found = self._applications.find(
            {"outbox.0": {"$exists": True}},
            {"outbox": 1},
            sort=[("outbox.at", ASCENDING)],
            limit=limit,
            comment=reason_of(_RELAY),
        )
        events = [
            OnboardingEvent.model_validate({**entry, "application_id": one["_id"]})
            for one in await found.to_list(None)
            for entry in _list(one["outbox"])
            if isinstance(entry, dict)
        ]
        return sorted(events, key=lambda event: (event.at, event.version))[:limit]

    @answering
    async def drained(self, events: Sequence[OnboardingEvent]) -> None:
        """One bulk write; an event that is gone already stays so."""
        ids = defaultdict[str, list[str]](list)
        for event in events:
            ids[event.application_id].append(event.id)
        pulls: list[UpdateOne] = [
            UpdateOne({"_id": application_id}, {"$pull": {"outbox": {"id": {"$in": gone}}}})
            for application_id, gone in ids.items()
        ]
        if pulls:
            await self._applications.bulk_write(pulls, ordered=False, comment=reason_of(_RELAY))

    async def _sealed(self, application_id: str, details: ApplicationDetails) -> Binary:
        return await self._vault.seal(application_id, DataClass.IDENTITY, {"details": details.model_dump(mode="json")})

    async def _opened(self, found: Sequence[Document]) -> list[Application]:
        """A page of applications, with one look into the vault for everything sealed in it."""
        parts = [_parts(one) for one in found]
        opened = iter(await self._vault.open([sealed for part in parts for sealed in part.values()]))
        return [
            _to_application(one, {name: next(opened) for name in part}) for one, part in zip(found, parts, strict=True)
        ]

    async def _look(self, scope: Scope, application_id: str, *fields: str) -> Document:
        """Those fields of one application. Raises `not_found`."""
        found = await self._applications.find_one(
            scoped(scope, {"_id": application_id}), fields or ("_id",), comment=reason_of(scope)
        )
        if found is None:
            raise not_found()
        return found


def _in_clear(details: ApplicationDetails) -> Document:
    """What says nothing of a person: a practice is named on its door."""
    return {"practice_name": details.practice_name, "slug": details.slug}


def _told(values: Document, event_id: str, what: OnboardingEventType, at: datetime, applicant: str) -> list[Document]:
    """Set `values`, and tell history and outbox that the applicant did so."""
    actor = OnboardingActor(kind=OnboardingActorKind.APPLICANT, id=applicant)
    return _changed(values, Move(application_id=applicant, event=what, event_id=event_id, at=at, actor=actor))


def _advanced(step: Move) -> list[Document]:
    values: Document = {
        "waiting_for": "$$REMOVE" if step.waiting_for is None else literal(step.waiting_for.model_dump())
    }
    if step.clock is not None:
        due = step.clock.due_at
        values["clock"] = literal(step.clock.model_dump(mode="json"))
        values["due_at"] = "$$REMOVE" if due is None else literal(due)
    if step.findings is not None:
        values["findings"] = literal([one.model_dump(mode="json") for one in step.findings])
    return _changed(values, step)


def _changed(values: Document, step: Move) -> list[Document]:
    """One stage, so that every expression reads the document as it was: the state that is left included."""
    state: object = "$state" if step.to is None else literal(step.to)
    spent = {"$floor": {"$divide": [{"$subtract": [literal(step.at), "$entered_at"]}, 1000]}}
    happened: Document = {
        "id": literal(step.event_id),
        "state": state,
        "left": "$state",
        "seconds": {"$toInt": {"$max": [0, spent]}},
        "at": literal(step.at),
    }
    entry = {
        **happened,
        "event": literal(step.event),
        "by": literal(step.actor.kind),
        "note_id": literal(step.note_id),
    }
    version = {"$add": ["$version", 1]}
    told = {**happened, "type": literal(step.event), "actor": literal(step.actor.model_dump()), "version": version}
    return [
        {
            "$set": {
                **values,
                "state": state,
                "entered_at": "$entered_at" if step.to is None else literal(step.at),
                "version": version,
                "updated_at": literal(step.at),
                "history": {"$concatArrays": ["$history", [entry]]},
                "outbox": {"$concatArrays": ["$outbox", [told]]},
            }
        }
    ]


def _listed(query: ApplicationQuery, cursor: str | None) -> Document:
    wanted: Document = {} if query.state is None else {"state": query.state}
    if query.overdue_at is not None:
        due: Document = {"$lt": query.overdue_at, "$exists": True}
        if cursor is not None:
            last, last_id = decode_cursor(cursor, datetime, str)
            due["$gte"] = last
            wanted["$or"] = [{"due_at": {"$gt": last}}, {"_id": {"$gt": last_id}}]
        return {**wanted, "due_at": due}
    if cursor is not None:
        last, last_id = decode_cursor(cursor, datetime, str)
        wanted["created_at"] = {"$lte": last}
        wanted["$or"] = [{"created_at": {"$lt": last}}, {"_id": {"$lt": last_id}}]
    return wanted


# Reading


def _parts(document: Document) -> dict[str, bytes | None]:
    """Everything sealed in an application, by name."""
    files = [_dict(one) for one in _list(document["documents"])]
    found = {
        "details": _dict(document.get("sealed")).get("identity"),
        **{f"note:{name}": note for name, note in _dict(document.get("notes")).items()},
        **{f"name:{one['id']}": one.get("name") for one in files},
    }
    return {name: sealed if isinstance(sealed, bytes) else None for name, sealed in found.items()}


def _to_application(document: Document, opened: dict[str, Opened]) -> Application:
    files = [_dict(one) for one in _list(document["documents"])]
    documents = [{**one, "name": str(_content(opened.get(f"name:{one['id']}")).get("name", ""))} for one in files]
    notes = {
        name.partition(":")[2]: str(_content(content).get("note", ""))
        for name, content in opened.items()
        if name.startswith("note:")
    }
    known = {name: document[name] for name in Application.model_fields if name in document}
    return Application.model_validate(
        {
            **known,
            "id": document["_id"],
            "details": _content(opened.get("details")).get("details"),
            "documents": documents,
            "notes": notes,
        }
    )


def _content(opened: Opened) -> Document:
    return {} if opened is None or opened is ERASED else opened


def _dict(value: object) -> Document:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
