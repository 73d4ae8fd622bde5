"""Access tokens: only our own, unexpired, for us, with the one algorithm."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from adapters.settings import NamedKey
from adapters.tokens import (
    AUDIENCE,
    ISSUER,
    LEEWAY,
    MAX_TOKEN_LENGTH,
    REMEMBERED,
    TOKEN_TYPE,
    TokenMinter,
    TokenVerifier,
)
from models.errors import Code, VisitNowError
from models.identity import Principal, Role

KEY = NamedKey("k1", bytes(range(32)))
OTHER = NamedKey("k2", bytes(range(1, 33)))
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DOCTOR = Principal(
    subject="usr_1",
    tenant_id="tnt_1",
    roles=frozenset({Role.DOCTOR, Role.ADMIN}),
    session_id="ses_1",
    provider_id="prv_1",
    clinic_ids=frozenset({"cln_2", "cln_1"}),
)
VERIFIER = TokenVerifier([KEY])

Json = dict[str, object]


def _claims() -> Json:
    issued = int(NOW.timestamp())
    return {
        "sub": "usr_1", "tenant_id": "tnt_1", "roles": ["doctor"], "sid": "ses_1",
        "iss": ISSUER, "aud": AUDIENCE, "iat": issued, "exp": issued + 600,
    }  # fmt: skip


def _header() -> Json:
    return {"alg": "EdDSA", "kid": "k1", "typ": TOKEN_TYPE}


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _signed(header: Json, claims: object, sign: Callable[[bytes], bytes] | None = None) -> str:
    sign = sign or Ed25519PrivateKey.from_private_bytes(KEY.key).sign
    message = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(claims).encode())}"
    return f"{message}.{_b64(sign(message.encode()))}"


def _refusal(token: str, now: datetime = NOW) -> Code:
    with pytest.raises(VisitNowError) as refusal:
        VERIFIER.verify(token, now)
    return refusal.value.code


def test_a_minted_token_speaks_for_its_principal() -> None:
    token = TokenMinter([KEY, OTHER]).mint(DOCTOR, timedelta(minutes=10), NOW)
    assert VERIFIER.verify(token, NOW + timedelta(minutes=9)) == DOCTOR


def test_a_hand_made_token_of_the_same_form_is_accepted() -> None:
    assert VERIFIER.verify(_signed(_header(), _claims()), NOW).subject == "usr_1"


def test_a_retired_key_still_verifies_until_it_is_removed() -> None:
    token = TokenMinter([OTHER]).mint(DOCTOR, timedelta(minutes=10), NOW)
    assert TokenVerifier([KEY, OTHER]).verify(token, NOW) == DOCTOR
    assert _refusal(token) is Code.TOKEN_INVALID


def test_expiry_is_told_apart_from_forgery() -> None:
    token = TokenMinter([KEY]).mint(DOCTOR, timedelta(minutes=10), NOW)
    expired = NOW + timedelta(minutes=10) + LEEWAY
    assert _refusal(token, expired) is Code.TOKEN_EXPIRED
    forged = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    assert _refusal(forged, expired) is Code.TOKEN_INVALID


def test_a_token_of_the_future_is_refused() -> None:
    token = TokenMinter([KEY]).mint(DOCTOR, timedelta(minutes=10), NOW + timedelta(minutes=1))
    assert _refusal(token) is Code.TOKEN_INVALID


def _seen(verifier: TokenVerifier, principal: Principal = DOCTOR) -> str:
    """A token of ten minutes that the verifier has accepted."""
    token = TokenMinter([KEY]).mint(principal, timedelta(minutes=10), NOW)
    assert verifier.verify(token, NOW) == principal
    return token


def test_a_token_that_was_seen_expires_all_the_same() -> None:
    verifier = TokenVerifier([KEY])
    token, end = _seen(verifier), NOW + timedelta(minutes=10) + LEEWAY
    assert verifier.verify(token, end - timedelta(seconds=1)) == DOCTOR
    for _ in range(2):
        with pytest.raises(VisitNowError) as refusal:
            verifier.verify(token, end)
        assert refusal.value.code is Code.TOKEN_EXPIRED
    assert not verifier._remembered


def test_a_token_that_was_seen_is_of_the_future_where_the_clock_was_set_back() -> None:
    verifier = TokenVerifier([KEY])
    token = _seen(verifier)
    with pytest.raises(VisitNowError) as refusal:
        verifier.verify(token, NOW - timedelta(minutes=1))
    assert refusal.value.code is Code.TOKEN_INVALID


def test_a_token_like_one_that_was_seen_is_verified_itself() -> None:
    verifier = TokenVerifier([KEY])
    token = _seen(verifier)
    header, claims, signature = token.split(".")
    _, other_claims, other_signature = _seen(verifier, DOCTOR.model_copy(update={"subject": "usr_2"})).split(".")
    forged = [f"{header}.{other_claims}.{signature}", f"{header}.{claims}.{other_signature}"]
    forged += [token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB"), f"{token}.", f" {token}", token[:-1]]
    for one in forged:
        for _ in range(2):
            with pytest.raises(VisitNowError) as refusal:
                verifier.verify(one, NOW)
            assert refusal.value.code is Code.TOKEN_INVALID
    assert len(verifier._remembered) == 2, "what was refused is not remembered"


def test_a_removed_key_refuses_at_once_what_it_signed() -> None:
    token = _seen(TokenVerifier([KEY, OTHER]))
    with pytest.raises(VisitNowError) as refusal:
        TokenVerifier([OTHER]).verify(token, NOW)
    assert refusal.value.code is Code.TOKEN_INVALID


def test_only_so_many_tokens_are_remembered_and_none_in_clear() -> None:
    verifier, minter = TokenVerifier([KEY]), TokenMinter([KEY])
    first = _seen(verifier)
    for number in range(REMEMBERED):
        assert verifier.verify(first, NOW) == DOCTOR, "the one that is in use stays"
        token = minter.mint(DOCTOR.model_copy(update={"subject": f"usr_{number}"}), timedelta(minutes=10), NOW)
        assert verifier.verify(token, NOW).subject == f"usr_{number}"
    assert len(verifier._remembered) == REMEMBERED
    assert hashlib.sha256(first.encode()).digest() in verifier._remembered
    assert {len(digest) for digest in verifier._remembered} == {hashlib.sha256().digest_size}


PUBLIC_KEY = Ed25519PrivateKey.from_private_bytes(KEY.key).public_key().public_bytes_raw()
FORGERIES: dict[str, str] = {
    "alg none": _signed({**_header(), "alg": "none"}, _claims(), lambda _: b""),
    "alg NONE": _signed({**_header(), "alg": "NONE"}, _claims(), lambda _: b""),
    "HS256 with the public key": _signed(
        {**_header(), "alg": "HS256"}, _claims(), lambda data: hmac.digest(PUBLIC_KEY, data, hashlib.sha256)
    ),
    "another key": _signed(_header(), _claims(), Ed25519PrivateKey.from_private_bytes(OTHER.key).sign),
    "its own key in the header": _signed(
        {**_header(), "jwk": {"kty": "OKP", "crv": "Ed25519", "x": _b64(PUBLIC_KEY)}}, _claims()
    ),
    "jku": _signed({**_header(), "jku": "http://127.0.0.1/keys"}, _claims()),
    "x5u": _signed({**_header(), "x5u": "http://127.0.0.1/cert"}, _claims()),
    "crit": _signed({**_header(), "crit": ["exp"]}, _claims()),
    "no kid": _signed({"alg": "EdDSA", "typ": TOKEN_TYPE}, _claims()),
    "unknown kid": _signed({**_header(), "kid": "k9"}, _claims()),
    "kid that is a path": _signed({**_header(), "kid": "../../dev/null"}, _claims()),
    "kid that is no text": _signed({**_header(), "kid": {"$gt": ""}}, _claims()),
    "another type": _signed({**_header(), "typ": "JWT"}, _claims()),
    "another issuer": _signed(_header(), _claims() | {"iss": "https://evil.example"}),
    "another audience": _signed(_header(), _claims() | {"aud": "other-api"}),
    "no audience": _signed(_header(), {k: v for k, v in _claims().items() if k != "aud"}),
    "no expiry": _signed(_header(), {k: v for k, v in _claims().items() if k != "exp"}),
    "expiry as text": _signed(_header(), _claims() | {"exp": "9999999999"}),
    "no session": _signed(_header(), {k: v for k, v in _claims().items() if k != "sid"}),
    "no roles": _signed(_header(), _claims() | {"roles": []}),
    "an unknown role": _signed(_header(), _claims() | {"roles": ["root"]}),
    "a subject that is an operator": _signed(_header(), _claims() | {"sub": {"$ne": ""}}),
    "a subject with spaces": _signed(_header(), _claims() | {"sub": "a b"}),
    "claims that are a list": _signed(_header(), [1]),
    "claims that are text": _signed(_header(), "x"),
    "encrypted form": "a.b.c.d.e",
    "nothing": "",
    "half a character": "\ud800",
    "one dot": "a.b",
    "not base64": "§§.§§.§§",
    "too long": "a" * (MAX_TOKEN_LENGTH + 1),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forgeries_are_refused(name: str) -> None:
    assert _refusal(FORGERIES[name]) is Code.TOKEN_INVALID


def test_an_audience_list_that_names_us_is_accepted() -> None:
    assert VERIFIER.verify(_signed(_header(), _claims() | {"aud": ["other", AUDIENCE]}), NOW).tenant_id == "tnt_1"


@given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,80}\.[A-Za-z0-9_-]{0,90}"))
def test_anything_else_is_refused_and_nothing_worse(text: str) -> None:
    assert _refusal(text) is Code.TOKEN_INVALID


@given(st.data())
def test_one_changed_character_is_enough(data: st.DataObject) -> None:
    token = TokenMinter([KEY]).mint(DOCTOR, timedelta(minutes=10), NOW)
    place = data.draw(st.integers(0, len(token) - 2))  # the last character of base64 carries unused bits
    letter = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."))
    changed = token[:place] + letter + token[place + 1 :]
    if _bytes_of(changed) != _bytes_of(token):
        assert _refusal(changed) is Code.TOKEN_INVALID


def _bytes_of(token: str) -> list[bytes] | None:
    """What base64 without padding says: the last character of a part may differ in bits that mean nothing."""
    try:
        return [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split(".")]
    except ValueError:
        return None


def test_published_keys_hold_no_secret() -> None:
    published = TokenVerifier([KEY, OTHER]).published
    assert [key.kid for key in published] == ["k1", "k2"]
    assert published[0].x == _b64(PUBLIC_KEY)
    assert _b64(KEY.key) not in str(published)
