"""Sessions: the truth about who is signed in; of tokens only hashes, and one conditional update per rotation."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pymongo import ASCENDING, DESCENDING, IndexModel

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, require, scoped
from models.identity import Scope
from models.sessions import EndReason, Session

_KEPT_SECONDS: Final = 86_400
"""How long a session is kept after its end, so that a late token is told apart from a made-up one."""
_MOST: Final = 200

DECLARED: Final = Declared(
    "sessions",
    [
        IndexModel(
            [("subject_id", ASCENDING), ("ended_at", ASCENDING), ("signed_in_at", DESCENDING)], name="of_subject"
        ),
        IndexModel([("expires_at", ASCENDING)], name="expired", expireAfterSeconds=_KEPT_SECONDS),
    ],
)


class MongoSessions:
    """Implements `models.identity_ports.SessionStore` on `sessions`; each belongs to its account as the subject."""

    def __init__(self, database: Database) -> None:
        """The sessions of everybody."""
        self._sessions: Collection = database["sessions"]

    @answering
    async def add(self, scope: Scope, session: Session) -> None:
        """Begin one."""
        document = session.model_dump(exclude={"id"})
        require(scope, document)
        await self._sessions.insert_one({"_id": session.id, **document, "version": 1}, comment=reason_of(scope))

    @answering
    async def find(self, scope: Scope, session_id: str) -> Session | None:
        """One session, whether it has ended or not."""
        found = await self._sessions.find_one(scoped(scope, {"_id": session_id}), comment=reason_of(scope))
        return None if found is None else _session(found)

    @answering
    async def live(self, scope: Scope, subject_id: str, now: datetime) -> list[Session]:
        """Somebody's sessions that go on, the latest first."""
        query: Document = {"subject_id": subject_id, "ended_at": None, "expires_at": {"$gt": now}}
        found = self._sessions.find(
            scoped(scope, query), sort=[("signed_in_at", DESCENDING)], limit=_MOST, comment=reason_of(scope)
        )
        return [_session(one) for one in await found.to_list(None)]

    @answering
    async def rotate(self, scope: Scope, before: Session, token_hash: str, at: datetime, expires_at: datetime) -> bool:
        """Let the successor take the token's place; False where somebody else's has, or the session has ended."""
        done = await self._sessions.update_one(
            scoped(scope, {"_id": before.id, "token_hash": before.token_hash, "ended_at": None}),
            {
                "$set": {
                    "token_hash": token_hash,
                    "previous_hash": before.token_hash,
                    "rotated_at": at,
                    "expires_at": expires_at,
                },
                "$inc": {"version": 1},
            },
            comment=reason_of(scope),
        )
        return done.matched_count == 1

    @answering
    async def end(self, scope: Scope, session_id: str, reason: EndReason, at: datetime) -> bool:
        """End one; False where there is none that goes on."""
        done = await self._sessions.update_one(
            scoped(scope, {"_id": session_id, "ended_at": None}), _ended(reason, at), comment=reason_of(scope)
        )
        return done.matched_count == 1

    @answering
    async def end_all(
        self, scope: Scope, subject_id: str, reason: EndReason, at: datetime, *, spare: str | None = None
    ) -> list[str]:
        """End all of somebody's but one; the ids of those that went on."""
        query: Document = {"subject_id": subject_id, "ended_at": None, "_id": {"$ne": spare}}
        wanted = scoped(scope, query)
        going = await self._sessions.find(wanted, {"_id": 1}, comment=reason_of(scope)).to_list(None)
        await self._sessions.update_many(wanted, _ended(reason, at), comment=reason_of(scope))
        return [str(one["_id"]) for one in going]


def _ended(reason: EndReason, at: datetime) -> Document:
    return {"$set": {"ended_at": at, "ended_because": reason}, "$inc": {"version": 1}}


def _session(found: Document) -> Session:
    known = {name: found[name] for name in Session.model_fields if name in found}
    return Session.model_validate({**known, "id": found["_id"]})
