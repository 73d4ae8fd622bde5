"""What a person is told about an appointment: which thing, to whom, and how long it is worth telling."""

from __future__ import annotations

from models.base import Id, Model, UtcDatetime
from models.ids import notice_id
from models.messaging import Template


class Notice(Model):
    """One thing to tell one person about one appointment: ids only, the words are found when it is sent.

    `occurrence` tells this time from another of the same kind: the id of an event, or the start of the visit as it was
    then. The same appointment, occurrence, template and recipient are told once, whatever channels are tried.
    """

    tenant_id: Id
    appointment_id: Id
    recipient_id: Id
    template: Template
    occurrence: Id
    expires_at: UtcDatetime
    """After this instant it is worth nothing and is not sent any more."""

    @property
    def id(self) -> str:
        """The business key of everything that is sent for it."""
        return notice_id(self.appointment_id, self.occurrence, self.template, self.recipient_id)
