"""Whether a message about a visit may go out, by the answers of everybody whom it is about."""

from __future__ import annotations

from models.consents import Purpose, whose_answers
from models.identity import Subject
from models.ports import Consents


async def agreed(consents: Consents, account_id: str, dependant_id: str | None, purpose: Purpose) -> bool:
    """Whether an account may be told for that purpose of a visit, which is for a dependant or (None) its owner's."""
    for about in whose_answers(purpose, account_id, dependant_id):
        if not await consents.allows(Subject(account_id), about, purpose):
            return False
    return True
