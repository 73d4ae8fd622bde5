"""Access tokens: signed with Ed25519 (JOSE name `EdDSA`), short-lived, verified without asking anybody."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OKPKey
from joserfc.jws import JWSRegistry
from pydantic import Field, ValidationError

from adapters.settings import NamedKey
from models.base import Id, Model
from models.errors import Code, VisitNowError
from models.identity import Principal, Role

ALGORITHM: Final = "EdDSA"
ISSUER: Final = "illajwala-visitnow"
AUDIENCE: Final = "visitnow-api"
TOKEN_TYPE: Final = "at+jwt"  # noqa: S105  RFC 9068's media type, not a secret
LEEWAY: Final = timedelta(seconds=5)
"""How far apart the clocks of our own machines may be."""
MAX_TOKEN_LENGTH: Final = 4096


class PublicKey(NamedTuple):
    """The public half of a signing key: its id and `x`, as a JWK of an Ed25519 key has them (RFC 8037)."""

    kid: str
    x: str


class _Registry(JWSRegistry):
    """Knows one algorithm and three header fields, so that neither `none` nor a key address is ever looked at.

    The library marks `EdDSA` as deprecated by RFC 9864 because it names no curve; here it means Ed25519 only.
    """

    algorithms = {ALGORITHM: JWSRegistry.algorithms["Ed25519"]}  # noqa: RUF012  the base class declares no ClassVar
    default_header_registry = {  # noqa: RUF012  likewise
        name: JWSRegistry.default_header_registry[name] for name in ("alg", "kid", "typ")
    }


class _Claims(Model, extra="ignore"):
    """What a token must say; the fields that mean nothing to us are left alone."""

    sub: Id
    tenant_id: Id
    roles: frozenset[Role] = Field(min_length=1)
    sid: Id
    provider_id: Id | None = None
    clinic_ids: frozenset[Id] = frozenset()
    iss: str
    aud: str | list[str]
    iat: int = Field(strict=True)
    exp: int = Field(strict=True)

    @property
    def principal(self) -> Principal:
        return Principal(
            subject=self.sub,
            tenant_id=self.tenant_id,
            roles=self.roles,
            session_id=self.sid,
            provider_id=self.provider_id,
            clinic_ids=self.clinic_ids,
        )

    @property
    def is_for_us(self) -> bool:
        audiences = [self.aud] if isinstance(self.aud, str) else self.aud
        return self.iss == ISSUER and AUDIENCE in audiences


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _public_jwk(key: NamedKey) -> OKPKey:
    fields: dict[str, str | list[str]] = {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": _public_x(key),
        "kid": key.id,
        "use": "sig",
    }
    return OKPKey.import_key(fields)


def _public_x(key: NamedKey) -> str:
    public = Ed25519PrivateKey.from_private_bytes(key.key).public_key()
    return _base64url(public.public_bytes(Encoding.Raw, PublicFormat.Raw))


class TokenVerifier:
    """Tells who a token speaks for."""

    def __init__(self, keys: Sequence[NamedKey]) -> None:
        """The seeds whose tokens are accepted; only their public halves are kept."""
        self._keys = KeySet([_public_jwk(key) for key in keys])
        self.published = tuple(PublicKey(key.id, _public_x(key)) for key in keys)
        self._registry = _Registry(algorithms=[ALGORITHM])

    def verify(self, token: str, now: datetime) -> Principal:
        """Who the token speaks for. Raises `token_invalid` or `token_expired`, the latter only for genuine ones."""
        claims = self._claims(token)
        if not claims.is_for_us or claims.iat > (now + LEEWAY).timestamp():
            raise VisitNowError(Code.TOKEN_INVALID)
        if claims.exp <= (now - LEEWAY).timestamp():
            raise VisitNowError(Code.TOKEN_EXPIRED)
        return claims.principal

    def _claims(self, token: str) -> _Claims:
        if len(token) > MAX_TOKEN_LENGTH:
            raise VisitNowError(Code.TOKEN_INVALID)
        try:
            decoded = jwt.decode(token, self._keys, registry=self._registry)
            if decoded.header.get("typ") != TOKEN_TYPE or "kid" not in decoded.header:
                raise VisitNowError(Code.TOKEN_INVALID)
            return _Claims.model_validate(decoded.claims)
        except (JoseError, ValidationError, ValueError) as error:
            # Any reason is the same answer: whoever forges tokens learns nothing from it.
            raise VisitNowError(Code.TOKEN_INVALID) from error


class TokenMinter:
    """Signs access tokens with the newest key."""

    def __init__(self, keys: Sequence[NamedKey]) -> None:
        """The seeds, newest first; at least one."""
        newest = keys[0]
        public = _public_jwk(newest)
        self._key = OKPKey.import_key({**public.as_dict(private=False), "d": _base64url(newest.key)})
        self._header = {"alg": ALGORITHM, "kid": newest.id, "typ": TOKEN_TYPE}
        self._registry = _Registry(algorithms=[ALGORITHM])

    def mint(self, principal: Principal, lifetime: timedelta, now: datetime) -> str:
        """A token that speaks for `principal` until `now + lifetime`."""
        claims: dict[str, str | int | list[str]] = {
            "sub": principal.subject,
            "tenant_id": principal.tenant_id,
            "roles": sorted(principal.roles),
            "sid": principal.session_id,
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": int(now.timestamp()),
            "exp": int((now + lifetime).timestamp()),
        }
        if principal.provider_id is not None:
            claims["provider_id"] = principal.provider_id
        if principal.clinic_ids:
            claims["clinic_ids"] = sorted(principal.clinic_ids)
        return jwt.encode(self._header, claims, self._key, registry=self._registry)
