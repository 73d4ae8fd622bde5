"""The ledger of consents: a line per answer, never changed; how things stand is the line with the highest number.

The numbers count each person's answers about one purpose and are unique, so of two answers at the same moment one comes
after the other, and a line that is missing is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import each_within, reason_of, require, scoped
from models.consents import Answer, Consent, Purpose, holds
from models.deletions_ports import Leaves
from models.errors import UnavailableError, not_found
from models.identity import PLATFORM, Scope, Subject, System
from models.ids import random_id
from models.together import Together

_MOST_AT_ONCE: Final = 20
"""So many answers of one person to one question at the same moment are nobody's."""

DECLARED: Final = Declared(
    "consents",
    [
        IndexModel([("about", ASCENDING), ("purpose", ASCENDING), ("number", DESCENDING)], name="answers", unique=True),
        IndexModel([("subject_id", ASCENDING), ("_id", ASCENDING)], name="of_subject"),
    ],
)


class MongoConsents:
    """Implements `models.consent_ports.ConsentLedger` on the collection `consents`."""

    def __init__(
        self,
        database: Database,
        version: Callable[[Purpose], int],
        leaves: Leaves,
    ) -> None:
        """`version` tells which version of a purpose's notice is shown today, `leaves` who is to be forgotten."""
        self._consents: Collection = database["consents"]
        self._version = version
        self._leaves = leaves
        self._lasts = Together(self._last_of_each, at_once=4)

    async def allows(self, scope: Scope, subject_id: str, purpose: Purpose) -> bool:
        """Two indexed reads: whoever is to be forgotten has taken back everything.

        Who asks about themselves and their own at the same time shares them. Raises `not_found` for the scope of a
        tenant: consents are the person's own.
        """
        if isinstance(scope, Subject):
            last = await self._last_together(scope, subject_id, purpose)
        else:
            last = await self.last(scope, subject_id, purpose)
        if not holds(purpose, last, self._version(purpose)):
            return False
        return await self._leaves(scope, subject_id) is None

    @answering
    async def _last_together(self, scope: Subject, about: str, purpose: Purpose) -> Consent | None:
        return await self._lasts.ask(purpose, (scope.subject_id, about))

    async def _last_of_each(self, purpose: Purpose, asked: Sequence[tuple[str, str]]) -> list[Consent | None]:
        """The answers that hold, of some subjects about one purpose."""
        found = self._consents.find(
            {**each_within("about", asked), "purpose": purpose}, sort=[("about", ASCENDING), ("number", DESCENDING)]
        )
        lasts: dict[tuple[str, str], Document] = {}
        async for one in found:
            lasts.setdefault((str(one["subject_id"]), str(one["about"])), one)
        return [None if one not in lasts else _consent(lasts[one]) for one in asked]

    @answering
    async def last(self, scope: Scope, about: str, purpose: Purpose) -> Consent | None:
        """The answer that holds; None where nothing was ever said."""
        _check(scope)
        found = await self._consents.find_one(
            scoped(scope, {"about": about, "purpose": purpose}),
            sort=[("number", DESCENDING)],
            comment=reason_of(scope),
        )
        return None if found is None else _consent(found)

    @answering
    async def count(self, scope: Scope, about: str) -> int:
        """One count by an index."""
        _check(scope)
        return await self._consents.count_documents(scoped(scope, {"about": about}), comment=reason_of(scope))

    @answering
    async def forget(self, scope: Scope, about: str) -> int:
        """One removal: a line is never changed, but it goes with whom it is about."""
        _check(scope)
        done = await self._consents.delete_many(scoped(scope, {"about": about}), comment=reason_of(scope))
        return done.deleted_count

    @answering
    async def record(self, scope: Scope, answer: Answer) -> Consent:
        """Add a line; the last one again where it says the same already. Raises `not_found` and `UnavailableError`."""
        _check(scope)
        require(scope, {"subject_id": answer.subject_id})
        for _ in range(_MOST_AT_ONCE):
            last = await self.last(scope, answer.about, answer.purpose)
            if last is not None and last.answer == answer:
                return last
            now = datetime.now(UTC)
            line = Consent(
                **answer.model_dump(),
                id=random_id("cns"),
                number=1 if last is None else last.number + 1,
                at=now.replace(microsecond=now.microsecond // 1000 * 1000),
            )
            try:
                await self._consents.insert_one(_document(line), comment=reason_of(scope))
            except DuplicateKeyError:
                continue  # somebody has answered just before
            return line
        raise UnavailableError("too many answers at once")


def _check(scope: Scope) -> None:
    # In a clinic's eyes nobody has ever answered, and what was not answered may be assumed: so it must not look.
    if not isinstance(scope, Subject | System):
        raise not_found()


def _document(line: Consent) -> Document:
    return {"_id": line.id, "tenant_id": PLATFORM, **line.model_dump(exclude={"id"}), "created_at": line.at}


def _consent(found: Document) -> Consent:
    known = {name: found[name] for name in Consent.model_fields if name in found}
    return Consent.model_validate({**known, "id": found["_id"]})
