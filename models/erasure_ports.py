"""What erasing asks of the outside; each method may raise `UnavailableError`, and may be asked again at any time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from models.data_classes import DataClass, RetentionClass
from models.erasure import ErasureReceipt, Gone, SentText, Store
from models.holdings import Holding
from models.identity import Scope


class Eraser(Protocol):
    """One store's way of forgetting somebody."""

    @property
    def store(self) -> Store:
        """Which store it is."""
        ...

    async def count(self, subject_id: str, data_class: RetentionClass) -> Mapping[str, int]:
        """How much of each part would go now; without those that tell themselves what went with an earlier try."""
        ...

    async def erase(self, subject_id: str, data_class: RetentionClass, at: datetime) -> Sequence[ErasureReceipt]:
        """Erase what is kept for that time and what no rule keeps; return once it can be read nowhere in the store.

        With `RetentionClass.NONE` only the latter. What is not there any more counts as nothing: it may be repeated.
        """
        ...


class Remains(Protocol):
    """What MongoDB holds of somebody, by the table of holdings, and where it leads to."""

    async def remove(self, scope: Scope, holding: Holding, subject_id: str) -> Gone:
        """Delete or blank what one line of the table says; what it says to keep is counted."""
        ...

    async def count(self, scope: Scope, holding: Holding, subject_id: str) -> int:
        """How many documents `remove` would delete or blank now."""
        ...

    async def forget_tries(self, scope: Scope, subject_id: str) -> int:
        """Drop what stands under digests of their addresses: counters, and codes sent before there was an account.

        How many; nothing where the addresses themselves are gone already. A code to somebody else that is still good
        stays its ten minutes: the number may have a new owner.
        """
        ...

    async def count_tries(self, scope: Scope, subject_id: str) -> int:
        """How many `forget_tries` would drop now."""
        ...

    async def ids(self, scope: Scope, collection: str, subject_id: str) -> list[str]:
        """The ids of their documents in a collection."""
        ...

    async def sent_texts(self, scope: Scope, subject_id: str) -> list[SentText]:
        """Messages to them whose words the carrier may still have."""
        ...

    async def note_redacted(self, scope: Scope, message_id: str, at: datetime) -> None:
        """The carrier has the words of that message no more."""
        ...


class Redactor(Protocol):
    """Who carried messages and can forget their words."""

    async def redact(self, provider_id: str) -> bool:
        """Have the words of one message forgotten; False where it is still on its way and has to be waited for."""
        ...


class Burial(NamedTuple):
    """When a key was destroyed for good, by the vault's own note, and whether there had been one."""

    at: datetime
    held: bool


class KeyBurial(Protocol):
    """The vault, as erasing sees it."""

    async def bury(self, subject_id: str, data_class: DataClass) -> Burial:
        """Destroy a key so that nobody ever makes one of that name again."""
        ...
