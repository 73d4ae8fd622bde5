"""Copies of the audit's seals in object storage: one object per seal, written once, never again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import obstore
from obstore.store import ObjectStore

from adapters.storage import answered, open_store
from models.seals import SignedSeal, UntrustedSealError

FOLDER: Final = "audit-seals"
_DIGITS: Final = 12
"""Of a seal's number in its object's name, so that names sort as numbers do."""


def object_name(tenant_id: str, number: int) -> str:
    """Where a seal's copy lies."""
    return f"{FOLDER}/{tenant_id}/{number:0{_DIGITS}}.jws"


class StoredSealHeads:
    """Implements `models.seal_ports.SealHeads`; without object storage there are no copies."""

    def __init__(self, url: str | None) -> None:
        """`url` is the setting `STORAGE_URL`."""
        self._store: ObjectStore | None = open_store(url) if url is not None else None

    @property
    def configured(self) -> bool:
        """Whether there is a place for them."""
        return self._store is not None

    async def keep(self, signed: SignedSeal) -> None:
        """A look, and a write where nothing is there: what once lies there may be locked against any other.

        Raises `UntrustedSealError` where another one lies there.
        """
        if self._store is None:
            return
        seal = signed.seal
        there = await self.read(seal.tenant_id, seal.number)
        if there is None:
            name = object_name(seal.tenant_id, seal.number)
            await answered(obstore.put_async(self._store, name, signed.signature.encode()))
        elif there != signed.signature:
            raise UntrustedSealError(f"the copy of {seal.tenant_id}:{seal.number} in object storage is another seal")

    async def newest(self) -> dict[str, int]:
        """Every tenant's newest number."""
        found: dict[str, int] = {}
        for name in await self._names():
            tenant, _, number = name.removeprefix(f"{FOLDER}/").removesuffix(".jws").partition("/")
            if number.isdecimal():
                found[tenant] = max(found.get(tenant, 0), int(number))
        return found

    async def read(self, tenant_id: str, number: int) -> str | None:
        """One copy; None where there is none."""
        if self._store is None:
            return None
        try:
            found = await answered(obstore.get_async(self._store, object_name(tenant_id, number)))
        except FileNotFoundError:
            return None
        return bytes(await answered(found.bytes_async())).decode(errors="replace")

    async def set_aside(self, tenant_id: str, after: int, folder: str) -> list[int]:
        """Move the copies of a chain's seals after that number to `folder`, for whoever asks what was lost.

        A restored chain ends earlier than its copies, and goes on with numbers that those have.
        """
        numbers = []
        for name in await self._names(f"{FOLDER}/{tenant_id}/"):
            number = name.rpartition("/")[2].removesuffix(".jws")
            if self._store is not None and number.isdecimal() and int(number) > after:
                await answered(obstore.rename_async(self._store, name, f"{folder}/{tenant_id}/{number}.jws"))
                numbers.append(int(number))
        return sorted(numbers)

    async def _names(self, prefix: str = f"{FOLDER}/") -> Sequence[str]:
        if self._store is None:
            return []
        listing = obstore.list(self._store, prefix=prefix)
        return [one["path"] async for chunk in listing for one in chunk]
