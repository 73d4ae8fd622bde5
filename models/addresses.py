"""Phone numbers and e-mail addresses: one spelling of each, and the keyed index by which they are looked up."""

from __future__ import annotations

import hashlib
import hmac
import re
from enum import StrEnum
from typing import Final

import phonenumbers

DEFAULT_REGION: Final = "IN"
"""Where a number without a country's code is dialled."""

MAX_EMAIL: Final = 254
"""RFC 5321, section 4.5.3.1.3, less the angle brackets."""

_EMAIL: Final = re.compile(r"[^\s@\x00-\x1f\x7f<>,;:\"()\[\]\\]{1,64}@[^\s@\x00-\x1f\x7f<>,;:\"()\[\]\\]+\.[^\s@.]{2,}")


class AddressKind(StrEnum):
    """What is looked up; an index of one kind never meets one of the other."""

    PHONE = "phone"
    EMAIL = "email"


def normal_phone(text: str) -> str:
    """The number in E.164. Raises ValueError, without the number in its text, where it is none that can be dialled."""
    try:
        number = phonenumbers.parse(text, DEFAULT_REGION)
    except phonenumbers.NumberParseException:
        raise ValueError("must be a phone number, like +919812345678") from None
    if not phonenumbers.is_valid_number(number) or number.extension:
        raise ValueError("must be a phone number, like +919812345678")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def normal_email(text: str) -> str:
    """The address as it is compared: without blanks around it, letters of one case. Raises ValueError."""
    address = text.strip().casefold()
    if len(address) > MAX_EMAIL or not _EMAIL.fullmatch(address) or ".." in address:
        raise ValueError("must be an e-mail address")
    return address


def blind_index(key: bytes, kind: AddressKind, normalised: str) -> str:
    """What stands for an address where it is looked up: HMAC-SHA256 in hex, worth nothing without the key."""
    return hmac.digest(key, f"{kind}\n{normalised}".encode(), hashlib.sha256).hex()
