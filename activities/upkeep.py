"""The steps of the upkeep: each finds what lies about and is as good as never run where nothing does."""

from __future__ import annotations

from datetime import datetime

from temporalio import activity

from activities.documents import AbandonedFiles
from activities.exports import ExportUpkeep
from activities.failures import typed_failures
from models.base import Model, UtcDatetime
from models.identity import System
from models.upkeep import PATIENCE, WORDS_KEPT, Beginner, Upkeep, UpkeepTally

UPKEEP = System("the upkeep looks after all tenants")
AT_ONCE = 500
"""So much of a kind in one turn: a heap that an outage has left is worked off within minutes."""

FILES_AT_ONCE = 50
"""Each may lie in some hundred objects, and a turn is to end within its time."""


class Turn(Model):
    """One turn, now."""

    at: UtcDatetime


class UpkeepActivities:
    """Begins what was promised and never begun; forgets what nobody needs any more."""

    def __init__(self, upkeep: Upkeep, beginner: Beginner, files: AbandonedFiles, exports: ExportUpkeep) -> None:
        """Where it lies, who begins it, and what of it are files and exports."""
        self._files = files
        self._exports = exports
        self._upkeep = upkeep
        self._beginner = beginner

    @activity.defn(name="upkeep.begin")
    async def begin(self, turn: Turn) -> UpkeepTally:
        """A process that died between keeping something and starting its workflow left it here."""
        before = turn.at - PATIENCE
        with typed_failures():
            leaves = await self._upkeep.unfinished_leaves(UPKEEP, before, AT_ONCE)
            for leave in leaves:
                await self._beginner.begin_leave(leave)
                activity.heartbeat()
            messages = await self._upkeep.unsent(UPKEEP, before, AT_ONCE)
            for message in messages:
                await self._beginner.begin_message(message)
                activity.heartbeat()
            exports = await self._exports.begin(before, AT_ONCE)
            reviews = await self._tell_of_reviews(before)
            requests = await self._tell_of_requests(before)
            deletions = await self._begin_deletions(before)
        return UpkeepTally(
            leaves=len(leaves),
            messages=len(messages),
            exports=exports,
            reviews=reviews,
            requests=requests,
            deletions=deletions,
        )

    async def _tell_of_reviews(self, before: datetime) -> int:
        reviews = await self._upkeep.unheard_reviews(UPKEEP, before, AT_ONCE)
        for review in reviews:
            await self._beginner.begin_follow_up(review)
            await self._upkeep.heard(UPKEEP, review)
            activity.heartbeat()
        return len(reviews)

    async def _tell_of_requests(self, before: datetime) -> int:
        requests = await self._upkeep.unheard_requests(UPKEEP, before, AT_ONCE)
        for request in requests:
            await self._beginner.begin_request(request)
            await self._upkeep.heard(UPKEEP, request)
            activity.heartbeat()
        return len(requests)

    async def _begin_deletions(self, before: datetime) -> int:
        deletions = await self._upkeep.unbegun_deletions(UPKEEP, before, AT_ONCE)
        for about in deletions:
            await self._beginner.begin_deletion(about)
            activity.heartbeat()
        return len(deletions)

    @activity.defn(name="upkeep.forget")
    async def forget(self, turn: Turn) -> UpkeepTally:
        """One-time codes, signed links, the addresses of those who never came, and files that were given up."""
        with typed_failures():
            words = await self._upkeep.forget_words(UPKEEP, turn.at - WORDS_KEPT)
            activity.heartbeat()
            strangers = await self._upkeep.forget_strangers(UPKEEP, turn.at, AT_ONCE)
            activity.heartbeat()
            # Last, since object storage may be away while everything else is not.
            files = await self._files.forget(turn.at, FILES_AT_ONCE)
            activity.heartbeat()
            files += await self._exports.forget(turn.at, FILES_AT_ONCE)
        return UpkeepTally(words=words, strangers=strangers, files=files)
