"""What sealing and verifying the audit ask of the outside; as in `models.ports`."""

from __future__ import annotations

from typing import Protocol

from models.identity import Scope
from models.seals import Batch, Seal, SignedSeal, StoredEntry


class AuditSeals(Protocol):
    """The entries in the database's order, and the seals over them, which are only ever added."""

    async def tenants(self, scope: Scope) -> list[str]:
        """Every tenant that has entries or seals."""
        ...

    async def settled(self, scope: Scope, seconds: int) -> int:
        """The stamp up to which no entry can come any more, where each is written within that many seconds."""
        ...

    async def last(self, scope: Scope, tenant_id: str) -> SignedSeal | None:
        """The newest seal of a chain."""
        ...

    async def unsealed(self, scope: Scope, tenant_id: str, after: int, upto: int, limit: int) -> list[StoredEntry]:
        """The oldest entries with stamps in (after, upto]."""
        ...

    async def add(self, scope: Scope, signed: SignedSeal, batch: Batch) -> bool:
        """Put a seal at the end of its chain; False where somebody else has put one there."""
        ...


class SealHeads(Protocol):
    """Copies of the seals outside the database: who cuts the end of a chain off has to do it there too."""

    async def keep(self, signed: SignedSeal) -> None:
        """Write a seal's copy, once. Raises `UntrustedSealError` where another one lies there."""
        ...

    async def read(self, tenant_id: str, number: int) -> str | None:
        """The signature in a seal's copy; None where there is none."""
        ...


class SealSigner(Protocol):
    """Puts our name under a seal, and knows it again."""

    def sign_seal(self, seal: Seal) -> SignedSeal:
        """The seal, signed with the newest key."""
        ...

    def is_ours(self, signed: SignedSeal) -> bool:
        """Whether one of our keys has signed it, and it says what was signed."""
        ...

    def says(self, signed: SignedSeal) -> bool:
        """Whether it says what stands in its signature, whoever made that."""
        ...
