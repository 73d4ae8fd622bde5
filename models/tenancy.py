"""What a tenant is to itself: its settings and their versions, its name on the web and the hosts it answers at."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, StringConstraints

from models.base import Id, Model, UtcDatetime
from models.policy import TenantPolicy

FIRST_VERSION: Final = 1
MAX_LANGUAGES: Final = 10

SLUG_LENGTH: Final = range(3, 41)
_SLUG_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")

PLATFORM_HOSTS: Final = frozenset({"www", "api", "admin"})
"""Subdomains of the public host that are the platform's own sites."""

RESERVED_NAMES: Final = PLATFORM_HOSTS | frozenset(
    {
        "about", "abuse", "account", "accounts", "app", "apps", "assets", "auth", "autoconfig", "autodiscover",
        "billing", "blog", "booking", "bookings", "careers", "cdn", "checkout", "clinic", "clinics", "codec",
        "contact", "dashboard", "demo", "dev", "docs", "email", "files", "ftp", "grafana", "help", "home",
        "hooks", "hostmaster", "illajwala", "imap", "info", "internal", "jobs", "legal", "localhost", "login",
        "logout", "mail", "media", "metrics", "mobile", "mta-sts", "news", "ns1", "ns2", "oauth", "ops", "pay",
        "payment", "payments", "platform", "pop", "postmaster", "press", "privacy", "production", "proxy",
        "root", "sandbox", "search", "secure", "security", "shop", "signin", "signup", "smtp", "sso", "staging",
        "static", "status", "support", "system", "temporal", "terms", "test", "vault", "visitnow", "webhook",
        "webhooks", "webmail", "wpad",
    }
)  # fmt: skip
"""Names that no clinic may have: the platform's sites, what mail and browsers look for, what would look official."""


def slug_problem(slug: str) -> str | None:
    """Why a name cannot be a clinic's subdomain, as a stable code; None where it can (RFC 1035, RFC 5891).

    `length`, `characters`, `hyphen` (first, last, or in the third and fourth place, where encoded names have it) or
    `reserved`. Whether another clinic has it, only the database tells.
    """
    if len(slug) not in SLUG_LENGTH:
        return "length"
    if not _SLUG_LETTERS.issuperset(slug):
        return "characters"
    if slug.startswith("-") or slug.endswith("-") or slug[2:4] == "--":
        return "hyphen"
    return "reserved" if slug in RESERVED_NAMES else None


def _distinct(languages: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(languages)) != len(languages):
        msg = "a language is named twice"
        raise ValueError(msg)
    return languages


Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")]
Languages = Annotated[tuple[Language, ...], Field(min_length=1, max_length=MAX_LANGUAGES), AfterValidator(_distinct)]
"""ISO 639 codes, the preferred one first."""

ENGLISH: Final[Languages] = ("en",)


class Branding(Model):
    """How a tenant's pages and messages look."""

    display_name: (
        Annotated[
            str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$")
        ]
        | None
    ) = Field(default=None, description="Null: the practice's own name.")
    logo_url: Annotated[str, StringConstraints(max_length=500, pattern=r"^https://[^\s\"'<>\\]+$")] | None = None
    color: Annotated[str, StringConstraints(pattern=r"^#[0-9a-f]{6}$")] | None = Field(
        default=None, description="Hexadecimal sRGB, like #1f6feb."
    )


class TenantSettings(TenantPolicy):
    """Everything that a tenant's admin sets: the policy of its bookings, its languages and its looks."""

    languages: Languages = ENGLISH
    branding: Branding = Branding()

    @classmethod
    def of(cls, policy: TenantPolicy, languages: tuple[str, ...], branding: Branding) -> Self:
        """The settings whose policy this is."""
        return cls.model_validate({**dict(policy), "languages": languages, "branding": branding})

    @property
    def policy(self) -> TenantPolicy:
        """The part that each booking keeps."""
        return TenantPolicy.model_validate({name: getattr(self, name) for name in TenantPolicy.model_fields})


class SettingsVersion(Model):
    """Settings as they were at one time; who set them and when is None for those that a tenant began with."""

    version: int = Field(ge=FIRST_VERSION)
    settings: TenantSettings
    changed_by: Id | None = None
    changed_at: UtcDatetime | None = None


class Domain(Model):
    """A host of a clinic's own; it counts once somebody has verified that it is theirs."""

    host: Annotated[
        str,
        StringConstraints(
            max_length=253, pattern=r"^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])$"
        ),
    ]
    tenant_id: Id
    clinic_id: Id
    verified: bool = False
