"""Which clinic's site a request came through: the Host's subdomain, looked up in the directory."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from models.cache import FreshCache
from models.errors import not_found
from models.identity import PLATFORM, Principal, Public
from models.ports import Directory
from models.providers import Clinic

RESERVED: Final = frozenset({"www", "api", "admin"})
FRESH_SECONDS: Final = 5.0


class ClinicHosts:
    """Compares the clinic of a Host with the tenant of a token."""

    def __init__(self, directory: Directory, public_url: str) -> None:
        """Clinics are subdomains of `public_url`'s host."""
        self._directory = directory
        self._suffix = f".{urlsplit(public_url).hostname}"
        self._clinics: FreshCache[str, Clinic | None] = FreshCache(FRESH_SECONDS)

    async def agree(self, host: str, principal: Principal) -> None:
        """Raise `not_found` where somebody of one tenant comes through another one's clinic.

        Patients are of no tenant, and a Host without a clinic (loopback, `api.`, `admin.`) leaves it to the token.
        """
        slug = self._slug(host)
        if slug is None or principal.is_patient or principal.tenant_id == PLATFORM:
            return
        clinic = await self._clinics.get(slug, lambda: self._directory.clinic_by_slug(Public(), slug))
        if clinic is None or clinic.tenant_id != principal.tenant_id:
            raise not_found()

    def _slug(self, host: str) -> str | None:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if not name.lower().endswith(self._suffix):
            return None
        label = name.lower().removesuffix(self._suffix)
        return None if label in RESERVED else label
