"""Every setting, read from `VISITNOW_…` environment variables by the entry points and by nobody else.

A development profile runs without any: what is secret then has a published default, and a production profile
refuses to start on one of those, on a sandbox or loopback address, or on a database without credentials.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, SecretStr, StringConstraints, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX: Final = "VISITNOW_"
KEY_BYTES: Final = 32
LOCAL_KMS_KEY_BYTES: Final = 96
KEY_SETTLE_SECONDS: Final = 60.0
"""As long as the driver keeps a data key."""

RAZORPAY_HOST: Final = "api.razorpay.com"
TWILIO_DOMAIN: Final = ".twilio.com"


class Profile(StrEnum):
    """Where this installation runs."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


class NamedKey(NamedTuple):
    """A rotated key of 32 bytes and the id that what it made carries."""

    id: str
    key: bytes


def development_key(name: str) -> str:
    """The published default of a secret, for development only: base64 of 32 bytes."""
    return base64.b64encode(hashlib.sha256(f"visitnow development {name}".encode()).digest()).decode()


def parse_keys(setting: str, what: str) -> tuple[NamedKey, ...]:
    """Read `id:base64,id:base64`, newest first. Raises `ValueError`, without any key in its text."""
    keys = []
    for number, part in enumerate(setting.split(","), start=1):
        key_id, colon, encoded = part.strip().partition(":")
        if not colon or not key_id:
            raise ValueError(f"{what} number {number} is not of the form id:base64")
        keys.append(NamedKey(key_id, _decoded(encoded, f"{what} number {number}")))
    if len({key.id for key in keys}) != len(keys):
        raise ValueError(f"two of the {what}s have the same id")
    return tuple(keys)


def _decoded(encoded: str, what: str) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise ValueError(f"{what} is not valid base64") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"{what} must have {KEY_BYTES} bytes, it has {len(key)}")
    return key


_SECRETS: Final = {
    "razorpay_key_id": "rzp_test_development",
    "razorpay_key_secret": "development-razorpay-key-secret",
    "signing_keys": development_key("signing"),
    "codec_keys": development_key("codec"),
    "id_hmac_key": development_key("ids"),
    "blind_index_key": development_key("blind index"),
}
"""What the development profile uses, and nothing else may: found anywhere in a setting, also among rotated keys."""

_KMS_KEY: Final = r"(local:(//[A-Za-z0-9+/=]+)?|file:///[^\s,]+)"
HttpUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#]+[^\s?#]*$", strip_whitespace=True)]
MongoUrl = Annotated[SecretStr, Field(min_length=1)]


class Settings(BaseSettings):
    """The settings, validated; secrets never show in a representation."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True)

    profile: Profile = Field(default=Profile.DEVELOPMENT, description="`development` or `production`.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level to log.")
    public_url: HttpUrl = Field(
        default="http://127.0.0.1:8000", description="Where patients' browsers reach us; clinics are its subdomains."
    )

    trusted_proxies: str = Field(
        default="127.0.0.1",
        description="Addresses or networks of proxies in front, comma-separated: only their `X-Forwarded-For` counts.",
    )

    mongodb_url: MongoUrl = Field(
        default=SecretStr("mongodb://127.0.0.1:27017/?replicaSet=rs0"), description="MongoDB replica set, with user."
    )
    database: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,48}$")] = Field(
        default="visitnow", description="Name of the database; also keeps installations on one Redis apart."
    )
    vault_mongodb_url: MongoUrl | None = Field(
        default=None, description="MongoDB of the key vault; absent: the same server."
    )
    vault_database: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,48}$")] = Field(
        default="visitnow_vault", description="Database of the key vault, outside the data's backups."
    )
    audit_mongodb_url: MongoUrl | None = Field(
        default=None, description="MongoDB as the user who may only insert into and read the audit; absent: the same."
    )
    redis_url: SecretStr = Field(default=SecretStr("redis://127.0.0.1:6379/0"), description="Redis, or what speaks so.")

    temporal_address: Annotated[str, StringConstraints(pattern=r"^[^\s/]+:\d{1,5}$")] = Field(
        default="127.0.0.1:7233", description="Temporal's frontend, `host:port`."
    )
    temporal_namespace: Annotated[str, StringConstraints(min_length=1)] = Field(
        default="default", description="Temporal namespace."
    )
    temporal_tls_ca: Path | None = Field(default=None, description="CA certificate (PEM) of Temporal's server.")
    temporal_tls_cert: Path | None = Field(default=None, description="Our client certificate (PEM).")
    temporal_tls_key: Path | None = Field(default=None, description="Its private key (PEM).")
    temporal_tls_server_name: str | None = Field(default=None, description="Name in the server's certificate.")
    temporal_ui_url: HttpUrl = Field(
        default="http://127.0.0.1:8233", description="The Temporal UI: links lead there; it may use the codec server."
    )

    razorpay_base_url: HttpUrl = Field(
        default=f"https://{RAZORPAY_HOST}", description="The payment gateway, without a trailing slash or `/v1`."
    )
    razorpay_key_id: Annotated[str, StringConstraints(min_length=1)] = Field(
        default=_SECRETS["razorpay_key_id"], description="The merchant's key id; Checkout shows it."
    )
    razorpay_key_secret: SecretStr = Field(
        default=SecretStr(_SECRETS["razorpay_key_secret"]), description="Its secret."
    )
    razorpay_webhook_secrets: SecretStr = Field(
        default=SecretStr(""), description="Webhook secrets, comma-separated, newest first; empty: webhooks answer 503."
    )

    twilio_base_url: HttpUrl = Field(default=f"https://api{TWILIO_DOMAIN}", description="The messaging provider.")
    twilio_account_sid: str | None = Field(default=None, description="Its account; absent: no text messages leave.")
    twilio_auth_token: SecretStr | None = Field(default=None, description="Its secret; also signs status callbacks.")
    twilio_sms_from: str | None = Field(default=None, description="Sender of text messages, E.164.")
    twilio_whatsapp_from: str | None = Field(default=None, description="Sender of WhatsApp messages, E.164.")
    smtp_url: SecretStr | None = Field(
        default=None, description="`smtp://user:password@host:587` (STARTTLS) or `smtps://…:465`; absent: no e-mail."
    )
    email_from: Annotated[str, StringConstraints(pattern=r"^[^\r\n]*[^\s@]+@[^\s@]+$")] = Field(
        default="VisitNow <no-reply@illajwala.com>", description="Sender of e-mails."
    )
    reviewers_email: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$")] | None = Field(
        default=None, description="Mailbox that is told of reviews that come due; absent: the list alone tells."
    )
    storage_url: Annotated[str, StringConstraints(pattern=r"^(file|s3)://\S+$")] | None = Field(
        default=None, description="Object storage, `file://…` or `s3://…`."
    )

    backup_url: Annotated[str, StringConstraints(pattern=r"^(file|s3)://\S+$")] | None = Field(
        default=None, description="Where backups go, `file://…` or `s3://…`; absent: none can be made."
    )
    backup_vault_url: Annotated[str, StringConstraints(pattern=r"^(file|s3)://\S+$")] | None = Field(
        default=None, description="Where those of the key vault go; absent: beside the others."
    )
    backup_keys: SecretStr | None = Field(
        default=None, description="AES-256 keys of backups, `id:base64` of 32 bytes each, newest first."
    )
    backup_days: Annotated[int, Field(ge=1, le=3650)] = Field(
        default=35, description="How long a backup of the data is kept."
    )
    backup_vault_days: Annotated[int, Field(ge=1, le=365)] = Field(
        default=7, description="How long one of the key vault is: only then what was erased is gone from every backup."
    )
    backup_mongodb_url: MongoUrl | None = Field(
        default=None,
        description="MongoDB as a user who only reads, the vault too; absent: the application and the vault.",
    )

    kms_url: Annotated[
        str,
        StringConstraints(pattern=rf"^{_KMS_KEY}(,{_KMS_KEY})*$"),
    ] = Field(
        default="local:",
        description="Key-encryption keys, 96 bytes in base64 each, as `file:///path` or `local://<base64>`; "
        "comma-separated, newest first: `visitnow keys rotate` wraps all data keys under it.",
    )
    key_settle_seconds: Annotated[float, Field(ge=0, le=600)] = Field(
        default=KEY_SETTLE_SECONDS,
        description="How long an erasure waits after a key was destroyed, until no process has it in memory any more.",
    )
    signing_keys: SecretStr = Field(
        default=SecretStr("dev:" + _SECRETS["signing_keys"]),
        description="Ed25519 seeds that sign access tokens, receipts, backups and the log of deletions, `id:base64` of "
        "32 bytes each, newest first; older ones stay, for what they signed is still read (docs/disaster.md).",
    )
    codec_keys: SecretStr = Field(
        default=SecretStr("dev:" + _SECRETS["codec_keys"]),
        description="AES-256 keys of Temporal's payloads, `id:base64` of 32 bytes each, newest first.",
    )
    id_hmac_key: SecretStr = Field(
        default=SecretStr(_SECRETS["id_hmac_key"]), description="Key of derived ids, base64 of 32 bytes."
    )
    blind_index_key: SecretStr = Field(
        default=SecretStr(_SECRETS["blind_index_key"]), description="Key of look-ups by phone or e-mail, base64."
    )

    @field_validator("razorpay_base_url", "public_url", "temporal_ui_url", "twilio_base_url")
    @classmethod
    def _no_trailing_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @field_validator(
        "twilio_account_sid", "twilio_auth_token", "twilio_sms_from", "twilio_whatsapp_from", "smtp_url", mode="before"
    )
    @classmethod
    def _empty_is_absent(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("smtp_url")
    @classmethod
    def _relay(cls, value: SecretStr | None) -> SecretStr | None:
        parts = urlsplit(value.get_secret_value()) if value is not None else None
        if parts is not None and (parts.scheme not in {"smtp", "smtps"} or not parts.hostname):
            raise ValueError("must be smtp://host or smtps://host")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _somebody_s_addresses(cls, value: str) -> str:
        for part in value.split(","):
            try:
                is_everybody = part.strip() != "" and ipaddress.ip_network(part.strip()).prefixlen == 0
            except ValueError:
                raise ValueError("must be addresses or networks, comma-separated") from None
            if is_everybody:
                raise ValueError("must not be everybody: whoever is trusted says where they come from")
        return value

    @field_validator("signing_keys", "codec_keys", "backup_keys")
    @classmethod
    def _named_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_keys(value.get_secret_value(), "key")
        return value

    @field_validator("id_hmac_key", "blind_index_key")
    @classmethod
    def _plain_key(cls, value: SecretStr) -> SecretStr:
        _decoded(value.get_secret_value(), "the key")
        return value

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.temporal_tls_cert is None) != (self.temporal_tls_key is None):
            raise ValueError("TEMPORAL_TLS_CERT and TEMPORAL_TLS_KEY come together")
        return self

    @model_validator(mode="after")
    def _backups_are_sealed(self) -> Self:
        if self.backup_url is not None and self.backup_keys is None:
            raise ValueError("BACKUP_URL and BACKUP_KEYS come together")
        return self

    @model_validator(mode="after")
    def _twilio_is_whole(self) -> Self:
        parts = (self.twilio_account_sid, self.twilio_auth_token, self.twilio_sms_from)
        if any(part is None for part in parts) and any(part is not None for part in parts):
            raise ValueError("TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and TWILIO_SMS_FROM come together")
        return self

    @model_validator(mode="after")
    def _fit_for_production(self) -> Self:
        if self.profile is Profile.PRODUCTION:
            problems = production_problems(self)
            if problems:
                raise ValueError("; ".join(problems))
        return self

    @property
    def is_development(self) -> bool:
        """Whether the development profile's leniences apply."""
        return self.profile is Profile.DEVELOPMENT

    @property
    def razorpay_is_sandbox(self) -> bool:
        """Whether the gateway is a stand-in, which serves its own checkout page."""
        return urlsplit(self.razorpay_base_url).hostname != RAZORPAY_HOST

    @property
    def webhook_secrets(self) -> tuple[bytes, ...]:
        """Razorpay's webhook secrets, newest first."""
        parts = self.razorpay_webhook_secrets.get_secret_value().split(",")
        return tuple(part.strip().encode() for part in parts if part.strip())

    @property
    def id_secret(self) -> bytes:
        """The key of derived ids."""
        return base64.b64decode(self.id_hmac_key.get_secret_value())

    @property
    def index_key(self) -> bytes:
        """The key of look-ups by phone or e-mail, and of what is kept of codes."""
        return base64.b64decode(self.blind_index_key.get_secret_value())

    @property
    def token_keys(self) -> tuple[NamedKey, ...]:
        """The Ed25519 seeds, newest first."""
        return parse_keys(self.signing_keys.get_secret_value(), "signing key")

    @property
    def payload_keys(self) -> tuple[NamedKey, ...]:
        """The AES-256 keys of Temporal's payloads, newest first."""
        return parse_keys(self.codec_keys.get_secret_value(), "codec key")

    @property
    def sealing_keys(self) -> tuple[NamedKey, ...]:
        """The AES-256 keys of backups, newest first; none where there are no backups."""
        return () if self.backup_keys is None else parse_keys(self.backup_keys.get_secret_value(), "backup key")


def load_settings() -> Settings:
    """The settings of this process's environment. Raises `SettingsError` with every problem in one text."""
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(_explained(error)) from None


class SettingsError(Exception):
    """The environment does not make valid settings; the text names variables, never values."""


def _explained(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        name = PREFIX + str(problem["loc"][0]).upper() if problem["loc"] else "settings"
        lines.append(f"{name}: {problem['msg'].removeprefix('Value error, ')}")
    return "\n".join(lines)


_ADDRESSES: Final = ("public_url", "temporal_ui_url", "razorpay_base_url", "twilio_base_url", "temporal_address")
_CONNECTIONS: Final = ("mongodb_url", "vault_mongodb_url", "audit_mongodb_url", "backup_mongodb_url", "redis_url")


def production_problems(settings: Settings) -> list[str]:
    """Why these settings are not fit for production: one sentence each, naming the variable."""
    return [*_development_values(settings), *_local_addresses(settings), *_plain_connections(settings)]


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _text(settings: Settings, name: str) -> str:
    value = getattr(settings, name)
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value or "")


def _development_values(settings: Settings) -> Iterable[str]:
    for name, published in _SECRETS.items():
        if published in _text(settings, name):
            yield f"{_variable(name)} is a development value"
    if "local:" in settings.kms_url.split(","):
        yield f"{_variable('kms_url')} must name a key-encryption key"
    if settings.key_settle_seconds < KEY_SETTLE_SECONDS:
        yield f"{_variable('key_settle_seconds')} must be at least {KEY_SETTLE_SECONDS:.0f}"
    if not settings.webhook_secrets:
        yield f"{_variable('razorpay_webhook_secrets')} is empty"


def _local_addresses(settings: Settings) -> Iterable[str]:
    for name in (*_ADDRESSES, *_CONNECTIONS):
        value = _text(settings, name)
        if value and any(is_loopback(host) for host in _hosts(value)):
            yield f"{_variable(name)} is a loopback address"
    if settings.razorpay_is_sandbox:
        yield f"{_variable('razorpay_base_url')} is a sandbox"
    if not (urlsplit(settings.twilio_base_url).hostname or "").endswith(TWILIO_DOMAIN):
        yield f"{_variable('twilio_base_url')} is a sandbox"


def _plain_connections(settings: Settings) -> Iterable[str]:
    for name in _CONNECTIONS:
        value = _text(settings, name)
        if value and not _credentials(value):
            yield f"{_variable(name)} has no credentials"
    for name in ("public_url", "temporal_ui_url"):
        if not _text(settings, name).startswith("https://"):
            yield f"{_variable(name)} must be https"


def _split(value: str) -> SplitResult:
    return urlsplit(value if "//" in value else f"//{value}")


def _hosts(value: str) -> list[str]:
    """The hosts of a URL; a MongoDB one may list several."""
    netloc = _split(value).netloc.rpartition("@")[2]
    return [_split(part).hostname or "" for part in netloc.split(",")]


def _credentials(value: str) -> bool:
    login = _split(value).netloc.rpartition("@")[0]
    return bool(login.partition(":")[2])


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
