"""Forged tokens, operators of the database where text belongs, and fields that no caller may set: over HTTP."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pymongo import MongoClient

from adapters.tokens import AUDIENCE, ISSUER, TOKEN_TYPE
from cli.accounts import ACCOUNTS
from models.application_tokens import Purpose, application_token
from models.errors import Code
from models.identity import Principal
from sandbox.servers.stack import Addresses
from tests.api.conftest import Api
from tests.api.operations import OPERATIONS, PERMISSION_OF, SCHEMAS, Json, Operation, fields
from tests.contents import DIGESTS, digests

# Tokens

DEFECTS: Final[dict[str, Json]] = {
    "alg none": {"header": {"alg": "none"}, "sign": "nothing"},
    "HS256 under the public key": {"header": {"alg": "HS256"}, "sign": "public key"},
    "jku": {"header": {"jku": "http://127.0.0.1:9/keys"}},
    "a key in the header": {"header": {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}}},
    "an unknown kid": {"header": {"kid": "another"}},
    "a kid that is a path": {"header": {"kid": "../../../dev/null"}},
    "a kid that is an operator": {"header": {"kid": {"$ne": ""}}},
    "another audience": {"claims": {"aud": "another-api"}},
    "another issuer": {"claims": {"iss": "https://evil.example"}},
    "another key": {"sign": "another key"},
    "changed after signing": {"sign": "before the change"},
    "a subject that is an operator": {"claims": {"sub": {"$gt": ""}}},
}


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _token(api: Api, defect: Json) -> str:
    newest = api.settings.token_keys[0]
    key, now, admin = (
        Ed25519PrivateKey.from_private_bytes(newest.key),
        int(datetime.now(UTC).timestamp()),
        ACCOUNTS["tenant_admin"],
    )
    claims = {
        "sub": admin.id, "tenant_id": admin.tenant_id, "roles": ["admin"], "sid": "development",
        "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 600,
    }  # fmt: skip
    header = {"alg": "EdDSA", "kid": newest.id, "typ": TOKEN_TYPE}
    genuine = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(claims).encode())}".encode()
    header |= defect.get("header", {})
    claims |= defect.get("claims", {})
    if defect.get("sign") == "before the change":
        claims["tenant_id"] = "tnt_sanjeevani"
    message = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(claims).encode())}"
    signers: dict[str | None, Callable[[], bytes]] = {
        None: lambda: key.sign(message.encode()),
        "nothing": lambda: b"",
        "public key": lambda: hmac.digest(key.public_key().public_bytes_raw(), message.encode(), hashlib.sha256),
        "another key": lambda: Ed25519PrivateKey.generate().sign(message.encode()),
        "before the change": lambda: key.sign(genuine),
    }
    return f"{message}.{_b64(signers[defect.get('sign')]())}"


async def _asked(api: Api, token: str) -> tuple[int, str | None]:
    async with api.client(None, Authorization=f"Bearer {token}") as client:
        answer = await client.get("/v1/tenant/settings")
    return answer.status_code, answer.json().get("code")


@pytest.mark.parametrize("name", DEFECTS)
async def test_a_forged_token_opens_nothing(api: Api, name: str) -> None:
    assert await _asked(api, _token(api, DEFECTS[name])) == (401, Code.TOKEN_INVALID)


async def test_the_same_token_without_a_defect_does_and_an_old_one_is_told_so(api: Api) -> None:
    assert await _asked(api, _token(api, {})) == (200, None)
    assert await _asked(api, _token(api, {"claims": {"iat": 1, "exp": 2}})) == (401, Code.TOKEN_EXPIRED)


# Bodies

OPERATORS: Final[tuple[object, ...]] = ({"$gt": ""}, {"$where": "sleep(1000)"}, {"a.b": 1}, {"$ne": None})
FORBIDDEN: Final[Json] = {
    "tenant_id": "tnt_sanjeevani", "role": "admin", "roles": ["admin"], "price": 1, "status": "paid",
    "state": "confirmed", "captured": 1, "policy_version": 9, "$set": {"state": "confirmed"}, "policy.horizon_days": 1,
}  # fmt: skip


def _speaker(operation: Operation) -> str | None:
    """An account that may call it; None where it is for everybody or for those who hold an application's token."""
    wanted = PERMISSION_OF.get(operation.id)
    for name in ("patient", "staff", "tenant_admin", "admin", "doctor"):
        one = ACCOUNTS[name]
        principal = Principal(subject=one.id, tenant_id=one.tenant_id, roles=one.roles, session_id="s")
        if wanted is None or wanted in principal.permissions:
            return name
    return None


WITH_BODIES: Final = [
    one for one in OPERATIONS if one.media == "application/json" and not one.path.startswith("/codec/")
]
"""A form's fields are text whatever is in them; the codec takes what the Temporal UI sends."""


_PLAIN: Final = {"integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}}


def _sample(schema: Json) -> object:
    """Something of that schema's shape; whether its values fit is no matter here."""
    if "$ref" in schema:
        return _sample(SCHEMAS[schema["$ref"].rpartition("/")[2]])
    for one in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        if one.get("type") != "null":
            return _sample(one)
    if "items" in schema:
        return [_sample(schema["items"])]
    if "properties" in schema:
        return {name: _sample(one) for name, one in schema["properties"].items()}
    return _PLAIN.get(str(schema.get("type")), "text")


def _with(value: object, path: list[str], replacement: object) -> object:
    """A copy in which the value at that path is another one."""
    if not path:
        return replacement
    if isinstance(value, list):
        return [_with(value[0], path[1:], replacement)]
    assert isinstance(value, dict)
    return {**value, path[0]: _with(value.get(path[0]), path[1:], replacement)}


def _objects(value: object) -> Iterator[Json]:
    if isinstance(value, dict):
        yield value
    elif isinstance(value, list):
        yield from (one for one in value if isinstance(one, dict))


def _contents(servers: Addresses, api: Api) -> dict[str, str]:
    with MongoClient[Json](servers.owner_mongodb_url(api.settings.database)) as client:
        return digests(client[api.settings.database].command(DIGESTS), without={"audit", "relay_leases"})


def _client(api: Api, operation: Operation) -> httpx.AsyncClient:
    """Somebody who may call it: an account, an applicant or, where it is public, nobody in particular."""
    headers = {"Idempotency-Key": secrets.token_urlsafe(12), "If-Match": '"1"'}
    speaker = _speaker(operation) if operation.secured else None
    if operation.secured and speaker is None:
        expires_at = datetime.now(UTC) + timedelta(hours=1)
        token = application_token(api.settings.id_secret, Purpose.APPLICANT, _id_of("application_id"), expires_at)
        headers["Authorization"] = f"Bearer {token}"
    return api.client(speaker, **headers)


def _id_of(parameter: str) -> str:
    return ("app_" if parameter == "application_id" else "apt_") + "a" * 26


async def _refused(api: Api, operation: Operation, body: object, *, field: str) -> None:
    ids = {name: _id_of(name) for name in operation.path_parameters}
    async with _client(api, operation) as client:
        answer = await client.request(operation.method, operation.path_with(ids), json=body)
    problem: Any = answer.json()
    assert (answer.status_code, problem["code"]) == (422, Code.INVALID), (operation.id, field, answer.text)
    named = [one["field"] for one in problem["errors"]]
    assert any(one == "unknown" or f".{field}." in f".{one}." for one in named), (operation.id, field, named)


def test_public_and_applicants_bodies_are_attacked_too() -> None:
    attacked = {one.id for one in WITH_BODIES}
    assert {"login", "request_code", "verify_code", "refresh", "forgot_password", "reset_password"} <= attacked
    assert {"accept_invite", "apply", "verify_application_email", "amend_application"} <= attacked


@pytest.mark.parametrize("operation", WITH_BODIES, ids=[one.id for one in WITH_BODIES])
async def test_no_text_may_be_an_operator(api: Api, servers: Addresses, operation: Operation) -> None:
    assert operation.body is not None
    whole, before = _sample(operation.body), _contents(servers, api)
    for number, one in enumerate(fields(operation.body)):
        if one.schema.get("type") == "string":
            body = _with(whole, one.path.split("."), OPERATORS[number % len(OPERATORS)])
            await _refused(api, operation, body, field=one.name)
    assert _contents(servers, api) == before


@pytest.mark.parametrize("operation", WITH_BODIES, ids=[one.id for one in WITH_BODIES])
async def test_nobody_sets_what_is_not_theirs_to_set(api: Api, servers: Addresses, operation: Operation) -> None:
    assert operation.body is not None
    whole, before = _sample(operation.body), _contents(servers, api)
    for name, value in FORBIDDEN.items():
        extra = [{**one, name: value} for one in _objects(whole) if name not in one]
        if extra:
            await _refused(api, operation, extra if isinstance(whole, list) else extra[0], field=name)
    assert _contents(servers, api) == before
