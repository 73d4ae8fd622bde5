"""One-time codes that were sent to phones: each good once, for a few tries that are counted before they are judged."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pymongo import ASCENDING, IndexModel, ReturnDocument

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.encryption import ERASED, Vault
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, require, scoped
from models.credentials import OTP_TRIES, Challenge, ChallengeState
from models.data_classes import DataClass
from models.identity import Scope

DECLARED: Final = Declared(
    "otp_challenges",
    # Those that are over are removed with their keys, which an expiring index cannot do.
    [
        IndexModel([("expires_at", ASCENDING)], name="over"),
        IndexModel([("subject_id", ASCENDING)], name="subject"),
        IndexModel([("phone_index", ASCENDING)], name="phone"),
    ],
)


class MongoChallenges:
    """Implements `models.identity_ports.Challenges` on `otp_challenges`."""

    def __init__(self, database: Database, vault: Vault) -> None:
        """`vault` seals each challenge's number under its subject's identity key."""
        self._challenges: Collection = database["otp_challenges"]
        self._vault = vault

    @answering
    async def add(self, scope: Scope, challenge: Challenge) -> None:
        """Keep a new one, its number left out: that is looked up and sealed after the answer."""
        document = challenge.model_dump(exclude={"id", "phone"})
        require(scope, document)
        await self._challenges.insert_one({"_id": challenge.id, **document, "version": 1}, comment=reason_of(scope))

    @answering
    async def address(self, scope: Scope, challenge_id: str, subject_id: str, phone: str) -> None:
        """Note whose it is and where the code goes, sealed."""
        sealed = await self._vault.seal(subject_id, DataClass.IDENTITY, {"phone": phone})
        await self._challenges.update_one(
            scoped(scope, {"_id": challenge_id}),
            {"$set": {"subject_id": subject_id, "sealed": {"identity": sealed}}},
            comment=reason_of(scope),
        )

    @answering
    async def count_try(self, scope: Scope, challenge_id: str, now: datetime) -> Challenge | None:
        """Count one try before it is judged; None where no more is allowed, or there is no such open challenge."""
        query: Document = {
            "_id": challenge_id,
            "state": ChallengeState.OPEN,
            "tries": {"$lt": OTP_TRIES},
            "expires_at": {"$gt": now},
        }
        found = await self._challenges.find_one_and_update(
            scoped(scope, query),
            {"$inc": {"tries": 1, "version": 1}},
            return_document=ReturnDocument.AFTER,
            comment=reason_of(scope),
        )
        return await self._opened(found) if found else None

    @answering
    async def find(self, scope: Scope, challenge_id: str) -> Challenge | None:
        """One challenge, its number left sealed."""
        found = await self._challenges.find_one(scoped(scope, {"_id": challenge_id}), comment=reason_of(scope))
        return None if found is None else _challenge(found, None)

    @answering
    async def spend(self, scope: Scope, challenge_id: str) -> bool:
        """Use it up; False where somebody else has."""
        done = await self._challenges.update_one(
            scoped(scope, {"_id": challenge_id, "state": ChallengeState.OPEN}),
            {"$set": {"state": ChallengeState.SPENT}, "$inc": {"version": 1}},
            comment=reason_of(scope),
        )
        return done.matched_count == 1

    async def _opened(self, found: Document) -> Challenge:
        sealed = found.get("sealed")
        [opened] = await self._vault.open([sealed["identity"] if isinstance(sealed, dict) else None])
        return _challenge(found, str(opened["phone"]) if opened and opened is not ERASED else None)


def _challenge(found: Document, phone: str | None) -> Challenge:
    known = {name: found[name] for name in Challenge.model_fields if name in found}
    return Challenge.model_validate({**known, "id": found["_id"], "phone": phone})
