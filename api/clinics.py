"""Which clinic's site a request came through: a subdomain of the public host, or a domain of the clinic's own."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from adapters.settings import is_loopback
from models.cache import FreshCache
from models.errors import not_found
from models.identity import PLATFORM, Principal, Public
from models.ports import Directory, Tenancy
from models.providers import Clinic
from models.tenancy import PLATFORM_HOSTS

FRESH_SECONDS: Final = 5.0
LOCAL_NAMES: Final = ("localhost", "illajwala.com")
"""What clinics are subdomains of beside a public host that is this machine's own address."""

_INTERNAL: Final = ("local", "internal", "svc", "localhost")
"""Top-level names that no public resolver knows: a cluster's own."""

_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,251}[a-z0-9])?", flags=re.ASCII)
_ORIGIN: Final = re.compile(r"(https?)://([a-z0-9.-]{1,253})(:[0-9]{1,5})?", flags=re.ASCII)


class ClinicHosts:
    """Knows the hosts of the platform and of every clinic."""

    def __init__(self, directory: Directory, tenancy: Tenancy, public_url: str, *, development: bool) -> None:
        """Clinics are subdomains of `public_url`'s host; in development pages of this machine may call us too."""
        public = urlsplit(public_url)
        host = public.hostname or ""
        self._directory = directory
        self._tenancy = tenancy
        self._scheme = public.scheme
        self._port = f":{public.port}" if public.port is not None else ""
        self._development = development
        self._names = (host, *LOCAL_NAMES) if is_loopback(host) else (host,)
        self._clinics: FreshCache[str, Clinic | None] = FreshCache(FRESH_SECONDS)

    async def clinic(self, host: str) -> Clinic | None:
        """The clinic of a Host; None for the platform's own hosts, addresses and a network's internal names.

        Raises `not_found` for a host that is nobody's.
        """
        name = _name_of(host)
        if name is None or self._is_ours(name):
            return None
        found = await self._clinics.get(name, lambda: self._look_up(name))
        if found is None:
            raise not_found()
        return found

    async def agree(self, host: str, principal: Principal) -> None:
        """Raise `not_found` where somebody of one tenant comes through another one's clinic.

        Patients and the platform's people are of no clinic's tenant, and a Host without a clinic (loopback, `api.`,
        `admin.`) leaves it to the token.
        """
        clinic = await self.clinic(host)
        if clinic is None or principal.is_patient or principal.tenant_id == PLATFORM:
            return
        if clinic.tenant_id != principal.tenant_id:
            raise not_found()

    async def allowed_origin(self, origin: str, clinic: Clinic | None) -> str | None:
        """The origin, where its pages may call us through a host of that clinic (None: of the platform).

        These are the platform's own sites, and the clinics' own hosts: each for its own tenant's clinics only.
        """
        parts = _ORIGIN.fullmatch(origin)
        if parts is None:
            return None
        scheme, name, port = parts.group(1), parts.group(2), parts.group(3) or ""
        if self._development and is_loopback(name):
            return f"{scheme}://{name}{port}"
        if (scheme, port) != (self._scheme, self._port) or _is_address(name):
            return None
        if not self._is_platform(name):
            own = await self._clinics.get(name, lambda: self._look_up(name))
            if own is None or (clinic is not None and clinic.tenant_id != own.tenant_id):
                return None
        return f"{scheme}://{name}{port}"

    def _is_ours(self, name: str) -> bool:
        internal = "." not in name or name.rpartition(".")[2] in _INTERNAL
        return self._is_platform(name) or _is_address(name) or (internal and self._label(name) is None)

    def _is_platform(self, name: str) -> bool:
        return name in self._names or self._label(name) in PLATFORM_HOSTS

    def _label(self, name: str) -> str | None:
        """What comes before the public host's name; None for a host that is elsewhere."""
        for suffix in self._names:
            if name.endswith(f".{suffix}"):
                return name.removesuffix(f".{suffix}")
        return None

    async def _look_up(self, name: str) -> Clinic | None:
        label = self._label(name)
        if label is not None:
            return await self._directory.clinic_by_slug(Public(), label)
        domain = await self._tenancy.domain(Public(), name)
        if domain is None:
            return None
        return (await self._directory.clinics(Public(), [domain.clinic_id])).get(domain.clinic_id)


def _name_of(host: str) -> str | None:
    """The name in a Host header, without port and a root's dot; None for an address in brackets.

    Raises `not_found` for what can be no name.
    """
    if host.startswith("["):
        return None
    name = host.partition(":")[0].lower().removesuffix(".")
    if not _HOST.fullmatch(name):
        raise not_found()
    return name


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
