"""What has become too old: of those who stay with us record by record, of those who left class by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from pydantic import Field

from models.base import Id, Model, UtcDatetime
from models.data_classes import RetentionClass
from models.erasure import SentText
from models.holdings import HOLDINGS, Holding
from models.identity import Scope

AT_ONCE: Final = 200
"""So many records are looked at and removed at a time."""


class Turn(Model):
    """One turn, now."""

    at: UtcDatetime


class Over(Model):
    """A class that somebody who was erased left behind, and whose time is over."""

    deletion_id: Id
    subject_id: Id
    retained_under: RetentionClass


class RetentionTally(Model):
    """What a turn has removed, by collection, and how many classes of those who were erased."""

    removed: dict[str, int] = Field(default_factory=dict)
    classes: int = 0

    def plus(self, collection: str, count: int) -> RetentionTally:
        """With so many more of a collection."""
        removed = Counter(self.removed) + Counter({collection: count})
        return self.model_copy(update={"removed": dict(removed)})

    @property
    def total(self) -> int:
        """How many records in all."""
        return sum(self.removed.values())


class Line(NamedTuple):
    """One line of what a turn would do: so much of a collection of a tenant is older than that."""

    tenant_id: str
    collection: str
    retained_under: RetentionClass
    before: datetime
    records: int


class Record(NamedTuple):
    """A record that is too old, and whom it is about."""

    id: str
    subject_id: str | None


def dated() -> list[Holding]:
    """What becomes too old by itself; what has files first, since the record leads to them.

    Last what a carrier has to forget as well: whether it answers is to hold nothing else up.
    """
    return sorted(
        (one for one in HOLDINGS if one.dated_by is not None), key=lambda one: (one.carried, one.folder is None)
    )


class Outdated(Protocol):
    """Records by their age; each method may raise `UnavailableError`."""

    async def tenants(self, scope: Scope) -> list[str]:
        """Every tenant, the platform included."""
        ...

    async def count(self, scope: Scope, holding: Holding, tenant_id: str, before: datetime) -> int:
        """How many of a tenant's are older than that and still say something."""
        ...

    async def some(
        self, scope: Scope, holding: Holding, tenant_id: str, before: datetime, spared: Collection[str], limit: int
    ) -> list[Record]:
        """The oldest of them, those about the `spared` left out."""
        ...

    async def sent_texts(self, scope: Scope, ids: Sequence[str]) -> list[SentText]:
        """Those of these messages whose words the carrier may still have."""
        ...

    async def remove(self, scope: Scope, holding: Holding, ids: Sequence[str]) -> int:
        """Delete or blank those records, as the table says, and what belongs to them; how many those were."""
        ...


class Folders(Protocol):
    """Object storage, as whoever clears it sees it."""

    async def remove(self, folder: str) -> int:
        """Remove whatever lies in a folder; how many objects. Raises `UnavailableError`."""
        ...
