"""Cursors of paged lists: where the last page ended, as one opaque word.

A cursor is neither secret nor signed: it holds sort keys of an item that its reader has already seen, and it only
ever narrows a query that is bound to the caller anyway. What comes back from outside is checked to be something
that `encode_cursor` could have written.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import TypeVar, overload

MAX_CURSOR_LENGTH = 2048

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INT64 = range(-(2**63), 2**63)

Key = str | int | datetime
_A = TypeVar("_A", str, int, datetime)
_B = TypeVar("_B", str, int, datetime)
_C = TypeVar("_C", str, int, datetime)


def encode_cursor(*keys: Key) -> str:
    """The sort keys of a page's last item as URL-safe text; instants to the microsecond, in UTC.

    Raises ValueError where the keys are too long for a cursor, or a number for the database's 64 bits.
    """
    document = json.dumps([_written(key) for key in keys], ensure_ascii=False, separators=(",", ":"))
    cursor = urlsafe_b64encode(document.encode()).rstrip(b"=").decode()
    if len(cursor) > MAX_CURSOR_LENGTH:
        msg = "the keys are too long for a cursor"
        raise ValueError(msg)
    return cursor


@overload
def decode_cursor(cursor: str, kind: type[_A], /) -> tuple[_A]: ...
@overload
def decode_cursor(cursor: str, kind: type[_A], second: type[_B], /) -> tuple[_A, _B]: ...
@overload
def decode_cursor(cursor: str, kind: type[_A], second: type[_B], third: type[_C], /) -> tuple[_A, _B, _C]: ...
def decode_cursor(cursor: str, /, *kinds: type[object]) -> tuple[Key, ...]:
    """The keys that `encode_cursor` was given, each of the kind expected at its place.

    Raises ValueError for anything else: another list's cursor, a cut, padded or made-up one.
    """
    try:
        keys = _read(cursor)
        genuine = encode_cursor(*keys) == cursor
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        msg = "not a cursor"
        raise ValueError(msg) from error
    if not genuine or [type(key) for key in keys] != list(kinds):
        msg = "not a cursor of this list"
        raise ValueError(msg)
    return keys


def _written(key: Key) -> object:
    """Text and numbers as they are; an instant as the only element of a list, in microseconds since 1970 UTC."""
    if isinstance(key, datetime):
        return [(key - _EPOCH) // _MICROSECOND]
    if isinstance(key, int) and key not in _INT64:
        msg = "the number does not fit into 64 bits"
        raise ValueError(msg)
    return key


def _read(cursor: str) -> tuple[Key, ...]:
    if len(cursor) > MAX_CURSOR_LENGTH:
        msg = "too long"
        raise ValueError(msg)
    document: object = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    if not isinstance(document, list):
        msg = "not a list of keys"
        raise TypeError(msg)
    return tuple(_key(value) for value in document)


def _key(value: object) -> Key:
    match value:
        case str() | int():
            return value
        case [int(micros)]:
            return _EPOCH + micros * _MICROSECOND
        case _:
            msg = "not a key"
            raise TypeError(msg)
