"""What operators and probes read."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether this process can serve, and which of its servers answer; Redis only speeds things up."""

    status: Literal["ready", "unready"]
    checks: dict[str, Literal["ok", "failed"]]


class VerificationKey(BaseModel):
    """A public key that verifies access tokens (RFC 8037)."""

    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"
    x: str
    kid: str
    use: Literal["sig"] = "sig"
    alg: Literal["EdDSA"] = "EdDSA"


class KeySetView(BaseModel):
    """JSON Web Key Set (RFC 7517)."""

    keys: list[VerificationKey]
