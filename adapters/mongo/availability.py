"""The practitioner's time: claims under a unique index of five-minute cells, so that no two can overlap."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final

from pymongo import ASCENDING, IndexModel, ReturnDocument, WriteConcern
from pymongo.errors import DuplicateKeyError

from adapters.mongo import claim_documents as claims
from adapters.mongo.client import Collection, Database, Document, answering, clashes_on_id
from adapters.mongo.encryption import Vault
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, require, scoped
from models.availability import Busy
from models.booking import ClaimRef, HoldSlot, Intake, PlaceBooking
from models.cache import FreshCache
from models.cells import cells
from models.data_classes import DataClass
from models.errors import not_found
from models.identity import Public, Scope, Subject, System
from models.providers import Provider
from models.together import Together

TimeChanged = Callable[[str], Awaitable[None]]
"""Called with a practitioner's id after their claims have changed; it deals with its own failures."""

_RECLAIM_SECONDS: Final = 0.05
"""For how long nobody looks again for claims that have run out, where none was found."""

_ATTEMPTS: Final = 4
"""An upsert that loses against another one of the same `_id` finds that document at its next attempt."""

DECLARED: Final = Declared(
    "slots",
    (
        # What forbids double-booking: any overlap of one person's time, at whichever clinic, is a duplicate key.
        IndexModel([("practitioner_id", ASCENDING), ("cells", ASCENDING)], name="cells", unique=True),
        IndexModel([("practitioner_id", ASCENDING), ("start", ASCENDING), ("end", ASCENDING)], name="calendar"),
        IndexModel(
            [("subject_id", ASCENDING), ("expires_at", ASCENDING)],
            name="holds",
            partialFilterExpression={"kind": "hold"},
        ),
        IndexModel([("leave_id", ASCENDING)], name="blocks", partialFilterExpression={"kind": "block"}),
        IndexModel([("seats.subject_id", ASCENDING)], name="seats", partialFilterExpression={"kind": "session"}),
    ),
    claims.VALIDATOR,
)


class MongoClaims:
    """Implements `models.ports.Claims` on the collection `slots`.

    A patient's own claim has the appointment's id for its `_id`: one appointment can never have two. A group session
    is one claim with a list of seats. Every write is one conditional update of one document.
    """

    def __init__(self, database: Database, vault: Vault, time_changed: TimeChanged) -> None:
        """`time_changed` hears of every change of a practitioner's claims."""
        self._slots: Collection = database["slots"]
        # A claim of a few seconds that a crash of the primary may lose: the hold, which may not, makes it again.
        self._fleeting: Collection = self._slots.with_options(write_concern=WriteConcern(w=1))
        self._vault = vault
        self._time_changed = time_changed
        self._reclaims: FreshCache[tuple[str, int, int], bool] = FreshCache(_RECLAIM_SECONDS)
        self._rivals = Together(self._one_of_rivals)

    @answering
    async def tentative(self, scope: Scope, command: PlaceBooking, intake: Intake, expires_at: datetime) -> bool:
        """One insert; who loses the race pays for nothing else, so the patient's words are sealed after it."""
        require(scope, claims.owner(command))
        if command.capacity is None:
            taken = await self._insert(claims.tentative_claim(command, expires_at), command)
        else:
            taken = await self._join(claims.joined(command, expires_at), command) is not None
        if taken:
            await self._time_changed(command.practitioner_id)
            if not intake.is_empty:
                await self._keep_intake(command, intake)
        return taken

    @answering
    async def hold(self, scope: Scope, step: HoldSlot) -> tuple[bool, bytes | None]:
        """One update of the tentative claim to the command's times, or its insert where it was lost."""
        command = step.command
        require(scope, claims.owner(command))
        if command.capacity is None:
            held, intake = await self._take_over(scope, step)
        else:
            seat = await self._join(claims.taken_over(command, step.expires_at), command)
            held, intake = seat is not None, claims.intake_of(seat or {}, command.body_hash)
        if held:
            await self._time_changed(command.practitioner_id)
        return held, intake

    @answering
    async def book(self, scope: Scope, claim: ClaimRef) -> bool:
        """One update; a hold that has run out may still be booked while nobody else has taken its time."""
        if claim.capacity is None:
            found = claims.by_owner(scope, claim)
            done = await self._slots.update_one(
                {**found, "kind": "hold"},
                {"$set": {"kind": "booked", "tentative": False, "expires_at": None}, "$unset": {"intake": ""}},
                comment=reason_of(scope),
            )
            booked = bool(done.matched_count) or await self._exists({**found, "kind": "booked"}, scope)
        else:
            done = await self._slots.update_one(
                claims.by_seat(scope, claim),
                {"$set": {"seats.$.expires_at": None, "seats.$.tentative": False}, "$unset": {"seats.$.intake": ""}},
                comment=reason_of(scope),
            )
            booked = bool(done.matched_count)
        if booked:
            await self._time_changed(claim.practitioner_id)
        return booked

    @answering
    async def move(self, scope: Scope, claim: ClaimRef, command: PlaceBooking) -> bool:
        """One update of the claim's cells, which the index checks as it does an insert; a seat is taken beside the old.

        So there is no moment with two claims on one person's time, nor one without any.
        """
        require(scope, claims.owner(command))
        wanted = cells(command.claim_start, command.claim_end)
        if command.capacity is not None:
            moved = await self._join(claims.taken_over(command, None), command) is not None
        elif claim.capacity is not None:
            moved = await self._insert_or_reclaim(
                self._slots, claims.booked_claim(command), command.practitioner_id, wanted
            )
        else:
            moved = await self._shift(scope, claim, command, wanted)
        if moved:
            await self._time_changed(command.practitioner_id)
        return moved

    @answering
    async def release(self, scope: Scope, claim: ClaimRef) -> None:
        """One delete; a seat is pulled, and its session goes with the last one."""
        if claim.capacity is None:
            await self._slots.delete_one(claims.by_owner(scope, claim), comment=reason_of(scope))
        else:
            await self._leave(scope, claim, claims.by_seat(scope, claim))
        await self._time_changed(claim.practitioner_id)

    @answering
    async def drop_tentative(self, scope: Scope, claim: ClaimRef) -> None:
        """As `release`, but only while no workflow has taken the claim over."""
        if claim.capacity is None:
            await self._fleeting.delete_one(
                {**claims.by_owner(scope, claim), "tentative": True}, comment=reason_of(scope)
            )
        else:
            await self._leave(scope, claim, claims.by_seat(scope, claim, tentative=True))
        await self._time_changed(claim.practitioner_id)

    @answering
    async def unpaid_holds(self, scope: Scope) -> int:
        """Counted by the server's clock. Raises ValueError for another scope than a subject's."""
        if not isinstance(scope, Subject):
            msg = "unpaid holds are counted for one subject"
            raise ValueError(msg)  # noqa: TRY004  the type is right, its use is not
        found = await self._slots.aggregate(claims.holds_of(scope.subject_id)).to_list(1)
        return int(str(found[0]["holds"])) if found else 0

    @answering
    async def busy(self, scope: Scope, practitioner_id: str, start: datetime, end: datetime) -> list[Busy]:
        """One indexed read over all tenants: free times are public, and a person's time is one everywhere.

        Raises `not_found` for a scope other than the public's or the system's, whose answer would leave clashes out.
        """
        if not isinstance(scope, Public | System):
            raise not_found()
        found = self._slots.find(
            claims.live_between(practitioner_id, start, end),
            claims.BUSY_FIELDS,
            sort=[("start", ASCENDING)],
            comment=reason_of(scope),
        )
        return [busy for claim in await found.to_list(None) if (busy := claims.to_busy(claim)) is not None]

    @answering
    async def block(self, scope: Scope, leave_id: str, provider: Provider, start: datetime, end: datetime) -> bool:
        """Take free time out of the calendar, at most `LONGEST_CLAIM` of it; False where it is not free.

        True again on a retry.
        """
        owner = claims.provider_owner(provider)
        require(scope, owner)
        wanted = cells(start, end)
        document: Document = {
            **owner,
            "_id": claims.block_id(leave_id, start),
            **claims.blocks_of(leave_id),
            "cells": list(wanted),
            "start": start,
            "end": end,
        }
        taken = await self._insert_or_reclaim(self._slots, document, provider.practitioner_id, wanted)
        if taken:
            await self._time_changed(provider.practitioner_id)
        return taken

    @answering
    async def unblock(self, scope: Scope, leave_id: str, provider: Provider) -> None:
        """One delete of what blocks the time of that leave, and of nothing else."""
        require(scope, claims.provider_owner(provider))
        await self._slots.delete_many(scoped(scope, claims.blocks_of(leave_id)), comment=reason_of(scope))
        await self._time_changed(provider.practitioner_id)

    @answering
    async def blocks(self, scope: Scope, leave_id: str) -> int:
        """One count over an index of blocks."""
        return await self._slots.count_documents(
            scoped(scope, claims.blocks_of(leave_id)), hint="blocks", comment=reason_of(scope)
        )

    # A patient's own claim

    async def _insert(self, document: Document, command: PlaceBooking) -> bool:
        """Insert a tentative claim; of those in this process who want the very same time at once, one tries."""
        wanted = cells(command.claim_start, command.claim_end)
        return await self._rivals.ask((command.practitioner_id, wanted[0], wanted[-1]), document)

    async def _one_of_rivals(self, time: tuple[str, int, int], asked: Sequence[Document]) -> list[bool]:
        """What trying each of these claims on one time would tell.

        All of them were wanted before the first is tried: where it loses, and where it is what stands there from now
        on, the time was taken while the others asked, and they may only have claims of before. Where neither is so,
        since the first has a claim on another time, the next one tries.
        """
        practitioner_id, first, last = time
        wanted = range(first, last + 1)
        answers: list[bool] = []
        for number, document in enumerate(asked):
            taken = await self._insert_or_reclaim(self._fleeting, document, practitioner_id, wanted)
            left = asked[number + 1 :]
            answers.append(taken)
            if not left:
                break
            ids = [one["_id"] for one in left]
            standing = {one["_id"]: one for one in await self._standing(ids, document, practitioner_id, wanted)}
            if not taken or document["_id"] in standing:
                return [*answers, *(one in standing for one in ids)]
        return answers

    async def _standing(
        self, ids: Sequence[object], own: Document, practitioner_id: str, wanted: Sequence[int]
    ) -> list[Document]:
        """Which of these ids have a claim, and `own` where it has this time; who has asked before is not refused."""
        there: Document = {"_id": own["_id"], "practitioner_id": practitioner_id, "cells": {"$in": list(wanted)}}
        found = self._slots.find(
            {"$or": [there, {"_id": {"$in": [one for one in ids if one != own["_id"]]}}]},
            {"_id": 1},
            comment="whose claims these are, of whichever tenant; nobody is told",
        )
        return await found.to_list(None)

    async def _insert_or_reclaim(
        self, slots: Collection, document: Document, practitioner_id: str, wanted: Sequence[int]
    ) -> bool:
        """Insert; where holds that have run out are in the way, delete those and try once more.

        Of many who lose the same race at once, one looks for such holds and tells the others.
        """
        key = (practitioner_id, wanted[0], wanted[-1])
        for last in (False, True):
            try:
                await slots.insert_one(document)
            except DuplicateKeyError as error:
                if clashes_on_id(error):
                    return True  # ours from an earlier try; whether it is the same booking, its workflow knows
                if last or not await self._reclaims.get(key, lambda: self._reclaim(practitioner_id, wanted)):
                    return False
            else:
                return True
        return False

    async def _reclaim(self, practitioner_id: str, wanted: Sequence[int], owner: str | None = None) -> bool:
        """Delete claims that have run out by the server's clock, but for the owner's own; whether there were any."""
        lapsed = claims.lapsed(practitioner_id, wanted, owner)
        done = await self._fleeting.delete_many(lapsed, comment="claims that have run out, whosever they were")
        if done.deleted_count:
            await self._time_changed(practitioner_id)
        return done.deleted_count > 0

    async def _take_over(self, scope: Scope, step: HoldSlot) -> tuple[bool, bytes | None]:
        command = step.command
        wanted = cells(command.claim_start, command.claim_end)
        reclaimed = False
        for _ in range(_ATTEMPTS):
            try:
                after = await self._slots.find_one_and_update(
                    scoped(scope, {"_id": command.appointment_id, "kind": "hold"}),
                    claims.held(command, step.expires_at),
                    {"intake": 1, "body_hash": 1},
                    upsert=True,
                    return_document=ReturnDocument.AFTER,
                    comment=reason_of(scope),
                )
            except DuplicateKeyError as error:
                if clashes_on_id(error):
                    booked = await self._slots.find_one(
                        scoped(scope, claims.booked_before(command)), {"intake": 1, "body_hash": 1}
                    )
                    if booked is not None:
                        return True, claims.intake_of(booked, command.body_hash)
                elif reclaimed or not await self._reclaim(command.practitioner_id, wanted, command.appointment_id):
                    return False, None
                else:
                    reclaimed = True
            else:
                return True, claims.intake_of(after, command.body_hash)
        return False, None

    async def _shift(self, scope: Scope, claim: ClaimRef, command: PlaceBooking, wanted: Sequence[int]) -> bool:
        for last in (False, True):
            try:
                done = await self._slots.update_one(
                    scoped(scope, claims.may_shift(claim, command)), claims.shifted(command), comment=reason_of(scope)
                )
            except DuplicateKeyError:
                if last or not await self._reclaim(command.practitioner_id, wanted, command.appointment_id):
                    return False
            else:
                return bool(done.matched_count)
        return False

    async def _keep_intake(self, command: PlaceBooking, intake: Intake) -> None:
        """Put the sealed words on the tentative claim of this very body, once."""
        sealed = await self._vault.seal(command.subject_id, DataClass.CLINICAL, intake.model_dump(mode="json"))
        if command.capacity is None:
            await self._fleeting.update_one(claims.awaiting_intake(command), {"$set": {"intake": sealed}})
        else:
            await self._fleeting.update_one(claims.seat_awaiting_intake(command), {"$set": {"seats.$.intake": sealed}})

    async def _exists(self, query: Document, scope: Scope) -> bool:
        return await self._slots.find_one(query, {"_id": 1}, comment=reason_of(scope)) is not None

    # A seat in a session

    async def _join(self, update: list[Document], command: PlaceBooking) -> Document | None:
        """Run an update that seats the owner where there is room; the owner's seat, None where there was none."""
        session_id = claims.session_id(command.claim)
        session: Document = {"_id": session_id, "tenant_id": command.tenant_id}
        wanted = cells(command.claim_start, command.claim_end)
        reclaimed = False
        for _ in range(_ATTEMPTS):
            try:
                after = await self._slots.find_one_and_update(
                    session,
                    update,
                    {"seats": {"$elemMatch": {"owner": command.appointment_id}}},
                    upsert=True,
                    return_document=ReturnDocument.AFTER,
                )
            except DuplicateKeyError as error:
                if clashes_on_id(error):
                    continue  # somebody else has opened the session just now
                if reclaimed or not await self._reclaim(command.practitioner_id, wanted, session_id):
                    return None
                reclaimed = True
            else:
                return claims.first_seat(after)
        return None

    async def _leave(self, scope: Scope, claim: ClaimRef, query: Document) -> None:
        after = await self._slots.find_one_and_update(
            query,
            {"$pull": {"seats": {"owner": claim.appointment_id}}},
            {"seats": {"$slice": 1}},
            return_document=ReturnDocument.AFTER,
            comment=reason_of(scope),
        )
        if after and claims.first_seat(after) is None:
            # Somebody may have sat down since: then this finds nothing.
            await self._slots.delete_one({"_id": after["_id"], "seats": {"$size": 0}}, comment=reason_of(scope))
