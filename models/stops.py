"""Who does not want to be written to by a sender: said by a reply, true at once, for every tenant of that sender.

The words are the carrier's own (Twilio, "Support for opt-out keywords"); where it has recognised one it says so itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol

STOP_WORDS: Final = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"})
START_WORDS: Final = frozenset({"START", "YES", "UNSTOP"})

UNSUBSCRIBED: Final = "21610"
"""The carrier's code for a reader who has stopped the sender."""


def stops(form: Mapping[str, str]) -> bool | None:
    """Whether a reply stops its addressee (True), lets it write again (False) or says something else (None)."""
    said = form.get("OptOutType", "").strip().upper() or form.get("Body", "").strip().strip(".!\"'").upper()
    if said in STOP_WORDS:
        return True
    return False if said in START_WORDS else None


class Stops(Protocol):
    """The replies. A sender and a reader are addresses as the carrier writes them, `whatsapp:` in front for WhatsApp.

    They belong to the sender, not to a tenant.
    """

    async def stopped(self, sender: str, reader: str) -> bool:
        """Whether the reader does not want to be written to by that sender."""
        ...

    async def note(self, sender: str, reader: str, *, stopped: bool, reply_id: str, at: datetime) -> None:
        """Keep what a reply says; the same reply counts once, and so does not undo a later one."""
        ...
