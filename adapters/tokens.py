"""Access tokens: signed with Ed25519 (JOSE name `EdDSA`), short-lived, verified without asking anybody."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OKPKey
from joserfc.jws import JWSRegistry
from pydantic import Field

from adapters.settings import NamedKey
from models.base import Id, Model
from models.errors import Code, VisitNowError
from models.identity import Principal, Role
from models.seals import Seal, SignedSeal

ALGORITHM: Final = "EdDSA"
ISSUER: Final = "illajwala-visitnow"
AUDIENCE: Final = "visitnow-api"
TOKEN_TYPE: Final = "at+jwt"  # noqa: S105  RFC 9068's media type, not a secret
LEEWAY: Final = timedelta(seconds=5)
"""How far apart the clocks of our own machines may be."""
MAX_TOKEN_LENGTH: Final = 4096
MAX_STATEMENT_LENGTH: Final = 1 << 18
"""A certificate names every part of every store."""
_SHOWN: Final = 100
"""So much of a foreign key's name is told."""
REMEMBERED: Final = 4096
"""How many tokens a verifier remembers: those of as many people as use one process within ten minutes."""


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


class _Signer:
    """Signs with the newest key."""

    def __init__(self, keys: Sequence[NamedKey], token_type: str) -> None:
        """The seeds, newest first; at least one."""
        newest = keys[0]
        public = _public_jwk(newest)
        self._key = OKPKey.import_key({**public.as_dict(private=False), "d": _base64url(newest.key)})
        self._header = {"alg": ALGORITHM, "kid": newest.id, "typ": token_type}
        self._registry = _Registry(algorithms=[ALGORITHM])

    def sign(self, claims: Mapping[str, object]) -> str:
        """The token that says so."""
        return jwt.encode(self._header, dict(claims), self._key, registry=self._registry)


class _Reader:
    """Reads what any of the keys has signed as that type of token."""

    def __init__(self, keys: Sequence[NamedKey], token_type: str, longest: int = MAX_TOKEN_LENGTH) -> None:
        """The seeds whose tokens are accepted; only their public halves are kept."""
        self._keys = KeySet([_public_jwk(key) for key in keys])
        self._type = token_type
        self._longest = longest
        self._registry = _Registry(algorithms=[ALGORITHM])

    def read(self, token: str) -> Mapping[str, object]:
        """What it says. Raises ValueError for whatever is not such a token, whichever way."""
        if len(token) > self._longest:
            raise ValueError("too long")
        try:
            decoded = jwt.decode(token, self._keys, registry=self._registry)
        except JoseError as error:
            raise ValueError("not one of ours") from error
        if decoded.header.get("typ") != self._type or "kid" not in decoded.header:
            raise ValueError("of another type")
        return decoded.claims


class _Verified(NamedTuple):
    """What a genuine token says; whether it counts is a matter of the time."""

    principal: Principal
    issued: int
    expires: int


class TokenVerifier:
    """Tells who a token speaks for.

    A token is presented again and again for ten minutes, and most of what reading it takes is its signature: the
    latest genuine ones are remembered, by their SHA-256 so that memory holds none that could be used. A verifier's
    keys never change; one with other keys is another verifier and remembers nothing.
    """

    def __init__(self, keys: Sequence[NamedKey]) -> None:
        """The seeds whose tokens are accepted; only their public halves are kept."""
        self.published = tuple(PublicKey(key.id, _public_x(key)) for key in keys)
        self._reader = _Reader(keys, TOKEN_TYPE)
        self._remembered: OrderedDict[bytes, _Verified] = OrderedDict()

    def verify(self, token: str, now: datetime) -> Principal:
        """Who the token speaks for. Raises `token_invalid` or `token_expired`, the latter only for genuine ones."""
        try:
            digest = hashlib.sha256(token.encode()).digest()
            verified = self._remembered.get(digest) or self._read(token)
        except ValueError as error:
            # Any reason is the same answer: whoever forges tokens learns nothing from it.
            raise VisitNowError(Code.TOKEN_INVALID) from error
        if verified.issued > (now + LEEWAY).timestamp():
            raise VisitNowError(Code.TOKEN_INVALID)
        if verified.expires <= (now - LEEWAY).timestamp():
            self._remembered.pop(digest, None)
            raise VisitNowError(Code.TOKEN_EXPIRED)
        self._remember(digest, verified)
        return verified.principal

    def _read(self, token: str) -> _Verified:
        """Check the signature and the claims that do not depend on the time. Raises ValueError."""
        claims = _Claims.model_validate(self._reader.read(token))
        if not claims.is_for_us:
            raise ValueError("for somebody else")
        return _Verified(claims.principal, claims.iat, claims.exp)

    def _remember(self, digest: bytes, verified: _Verified) -> None:
        self._remembered[digest] = verified
        self._remembered.move_to_end(digest)
        if len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)


class TokenMinter:
    """Signs access tokens with the newest key."""

    def __init__(self, keys: Sequence[NamedKey]) -> None:
        """The seeds, newest first; at least one."""
        self._signer = _Signer(keys, TOKEN_TYPE)

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
        return self._signer.sign(claims)


class Purpose(StrEnum):
    """What a token of one purpose is good for; each has an audience and a type of its own."""

    STEP_UP = "step-up"
    CODEC = "codec"
    INVITE = "invite"
    DOCUMENT = "document"
    EXPORT = "export"
    PASSWORD_RESET = "password-reset"  # noqa: S105  a purpose, not a secret


class Grant(Model, extra="ignore"):
    """What a token of one purpose says: whom or what it is about, and under which circumstances it still counts."""

    sub: Id
    ver: str = ""
    """What must not have changed since: a session's id, a password's version."""
    iss: str
    aud: str
    iat: int = Field(strict=True)
    exp: int = Field(strict=True)


class PurposeTokens:
    """Tokens that are good for one thing only, like a link in an e-mail; none of them opens the API."""

    def __init__(self, keys: Sequence[NamedKey]) -> None:
        """The seeds, newest first; at least one."""
        self._signers = {purpose: _Signer(keys, f"{purpose}+jwt") for purpose in Purpose}
        self._readers = {purpose: _Reader(keys, f"{purpose}+jwt") for purpose in Purpose}

    def mint(self, purpose: Purpose, subject: str, ver: str, expires_at: datetime, now: datetime) -> str:
        """A token about `subject` until `expires_at`."""
        return self._signers[purpose].sign(
            {
                "sub": subject,
                "ver": ver,
                "iss": ISSUER,
                "aud": f"visitnow-{purpose}",
                "iat": int(now.timestamp()),
                "exp": int(expires_at.timestamp()),
            }
        )

    def read(self, purpose: Purpose, token: str, now: datetime) -> Grant | None:
        """What it says; None for whatever is not an unexpired token of ours for that purpose."""
        try:
            grant = Grant.model_validate(self._readers[purpose].read(token))
        except ValueError:
            return None
        genuine = grant.iss == ISSUER and grant.aud == f"visitnow-{purpose}"
        timely = grant.iat <= (now + LEEWAY).timestamp() and grant.exp > now.timestamp()
        return grant if genuine and timely else None


class Statement(StrEnum):
    """What we put our name to, so that whoever holds it can prove that we said it."""

    CONSENT = "consent-receipt"
    AUDIT_SEAL = "audit-seal"
    BACKUP = "backup"
    DELETION = "deletion-certificate"
    ERASURE = "erasure-entry"


class Statements:
    """Signs facts as compact JWS (RFC 7515), which anybody can check against the published keys; they never expire."""

    def __init__(self, keys: Sequence[NamedKey]) -> None:
        """The seeds, newest first; at least one."""
        self._signers = {kind: _Signer(keys, f"{kind}+jwt") for kind in Statement}
        self._readers = {kind: _Reader(keys, f"{kind}+jwt", MAX_STATEMENT_LENGTH) for kind in Statement}
        self._names = {key.id for key in keys}

    def sign(self, kind: Statement, facts: Mapping[str, object]) -> str:
        """The facts, plain JSON values, under our name."""
        return self._signers[kind].sign({**facts, "iss": ISSUER})

    def read(self, kind: Statement, statement: str) -> Mapping[str, object]:
        """The facts. Raises ValueError where it is not a statement of that kind, of ours, or was changed."""
        facts = self._readers[kind].read(statement)
        if facts.get("iss") != ISSUER:
            raise ValueError("somebody else's")
        return facts

    def sign_seal(self, seal: Seal) -> SignedSeal:
        """A seal of the audit under our name."""
        return SignedSeal(seal=seal, signature=self.sign(Statement.AUDIT_SEAL, seal.facts))

    def is_ours(self, signed: SignedSeal) -> bool:
        """Whether the signature is ours and says what the seal says."""
        try:
            facts = self.read(Statement.AUDIT_SEAL, signed.signature)
        except ValueError:
            return False
        return {**signed.seal.facts, "iss": ISSUER} == facts

    def says(self, signed: SignedSeal) -> bool:
        """Whether the seal is the one that the signature is about, whoever made that: where a key was rotated out."""
        _, _, payload = signed.signature.partition(".")
        try:
            facts = json.loads(base64.urlsafe_b64decode(payload.partition(".")[0] + "=="))
        except ValueError:
            return False
        return isinstance(facts, dict) and {**signed.seal.facts, "iss": ISSUER} == facts

    def knows_key_of(self, statement: str) -> bool:
        """Whether it names a key that is configured: others may have been ours, before they were rotated out."""
        return self.foreign_key_of(statement) is None

    def foreign_key_of(self, statement: str) -> str | None:
        """The key that it names where that is none that is configured; anybody may have written it there."""
        try:
            header = json.loads(base64.urlsafe_b64decode(statement.partition(".")[0] + "=="))
        except ValueError:
            return None
        if not isinstance(header, dict) or header.get("kid") in self._names:
            return None
        return str(header.get("kid"))[:_SHOWN]
