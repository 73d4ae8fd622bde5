from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta, timezone
from typing import assert_type

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.cursor import MAX_CURSOR_LENGTH, Key, decode_cursor, encode_cursor

NOON = datetime(2026, 3, 2, 12, 0, 0, 123_456, tzinfo=UTC)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
numbers = st.integers(-(2**63), 2**63 - 1)
instants = st.datetimes(timezones=st.just(UTC))


def made_up(document: object) -> str:
    return raw(json.dumps(document, separators=(",", ":")).encode())


def raw(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def test_the_keys_come_back_with_their_types() -> None:
    start, appointment = decode_cursor(encode_cursor(NOON, "apt_1"), datetime, str)
    assert_type(start, datetime)
    assert_type(appointment, str)
    assert (start, appointment) == (NOON, "apt_1")
    assert decode_cursor(encode_cursor(7), int) == (7,)
    assert decode_cursor(encode_cursor('आशा, "क"\n', -3, NOON), str, int, datetime) == ('आशा, "क"\n', -3, NOON)


@given(texts, numbers, instants)
def test_any_keys_come_back(text: str, number: int, instant: datetime) -> None:
    cursor = encode_cursor(text, number, instant)
    assert decode_cursor(cursor, str, int, datetime) == (text, number, instant)
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_an_instant_is_the_same_cursor_in_any_zone() -> None:
    kolkata = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert encode_cursor(kolkata) == encode_cursor(NOON)
    (found,) = decode_cursor(encode_cursor(kolkata), datetime)
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "=",
        "A",
        "not a cursor",
        "ключ",
        "\ud800",
        encode_cursor("apt_1", NOON),
        encode_cursor(NOON),
        encode_cursor(NOON, "apt_1", "more"),
        encode_cursor(1, "apt_1"),
        encode_cursor(NOON, "apt_1") + "=",
        encode_cursor(NOON, "apt_1")[:-1],
        " " + encode_cursor(NOON, "apt_1"),
        encode_cursor(NOON, "apt_1") + "\n",
        raw(b"\xff\xfe"),
        raw(b'[[1], "apt_1"]'),
        raw(b'[[1],"\\u0061"]'),
        raw(b'[[1],"\\ud800"]'),
        raw(b'[[1.0],"apt_1"]'),
        raw(b'[[NaN],"apt_1"]'),
        raw(b"[[" + b"9" * 1400 + b'],"a"]'),
        raw(b"[" * 1500),
        made_up({"start": 1}),
        made_up("apt_1"),
        made_up(None),
        made_up([]),
        made_up([[1], None]),
        made_up([[1], 1.5]),
        made_up([[1], {"$gt": ""}]),
        made_up([[1, 2], "apt_1"]),
        made_up([[True], "apt_1"]),
        made_up([["1"], "apt_1"]),
        made_up([[2**70], "apt_1"]),
        made_up([[[1]], "apt_1"]),
        "W" * (MAX_CURSOR_LENGTH + 1),
    ],
)
def test_anything_else_is_refused(cursor: str) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        decode_cursor(cursor, datetime, str)


@pytest.mark.parametrize("number", [True, 2**63, -(2**63) - 1, 10**40])
def test_what_is_no_64_bit_number_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        decode_cursor(made_up([number]), int)


@given(st.text(max_size=60) | st.text("ABCWXYZabcxyz0189-_", max_size=60))
def test_any_text_is_refused_or_means_exactly_one_thing(text: str) -> None:
    keys: tuple[Key, ...]
    try:
        keys = decode_cursor(text, str)
    except ValueError:
        return
    assert encode_cursor(*keys) == text


def test_keys_that_make_no_cursor_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="too long"):
        encode_cursor("x" * MAX_CURSOR_LENGTH)
    with pytest.raises(ValueError, match="64 bits"):
        encode_cursor(2**63)
