"""What people have agreed to: one question for every step that needs it."""

from __future__ import annotations

from enum import StrEnum


class Purpose(StrEnum):
    """What personal data is used for (Digital Personal Data Protection Act 2023, sections 5 to 7)."""

    CARE = "care"
    """To find, hold, pay and keep one's appointments: what was asked for, so it is assumed until withdrawn."""
    FOLLOW_UP = "follow_up"
    """To ask how a visit was and to remind of the next one: likewise."""
    WHATSAPP = "whatsapp"
    """To be written to on WhatsApp: only after a yes."""
    PROMOTION = "promotion"
    """To be told of offers: only after a yes."""


ASSUMED = frozenset({Purpose.CARE, Purpose.FOLLOW_UP})
"""Where nothing was said: the person gave the data for that very purpose and has not objected (section 7(a))."""
