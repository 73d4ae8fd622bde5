"""What doctors write of their visits, and printing what they have prescribed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from adapters.prescriptions import is_printable, prescription_pdf
from api.problems import invalid
from models.booking import Appointment
from models.consultation import NOTHING_YET, WRITABLE, PatientOnRecord, Summary, SummaryVersion, record_of
from models.consultation_ports import Consultations
from models.cursor import decode_cursor, encode_cursor
from models.errors import Code, VisitNowError, not_found
from models.identity import Principal, Scope, Subject, System
from models.identity_ports import Users
from models.ports import Directory, Page

NAMES: Final = System("a record names its clinic and its doctor")
_BEYOND: Final = 2**31


class Consulting:
    """Summaries of appointments that their caller has found already, so may see."""

    def __init__(self, consultations: Consultations, directory: Directory, users: Users) -> None:
        """Where summaries lie, and who patients, doctors and clinics are."""
        self._consultations = consultations
        self._directory = directory
        self._users = users

    async def write(
        self,
        scope: Scope,
        author: Principal,
        appointment: Appointment,
        summary: Summary,
        told: PatientOnRecord,
        replaces: int,
    ) -> SummaryVersion:
        """Write the version after `replaces`. Raises `invalid` and `stale`."""
        _check(appointment, summary)
        providers = await self._directory.profiles(NAMES, [appointment.provider_id])
        clinics = await self._directory.clinics(NAMES, [appointment.clinic_id])
        account = await self._users.find(Subject(appointment.subject_id), appointment.subject_id)
        known = providers[appointment.provider_id], clinics[appointment.clinic_id]
        version = SummaryVersion(
            appointment_id=appointment.id,
            tenant_id=appointment.tenant_id,
            clinic_id=appointment.clinic_id,
            provider_id=appointment.provider_id,
            subject_id=appointment.subject_id,
            version=replaces + 1,
            author_id=author.subject,
            at=_now(),
            record=record_of(summary, told, appointment, account, known),
        )
        await self._consultations.add(scope, version)
        return version

    async def newest(self, scope: Scope, appointment: Appointment) -> SummaryVersion:
        """The version that stands. Raises `not_found` where nothing was written."""
        found = await self._consultations.newest(scope, appointment.id)
        if found is None:
            raise not_found()
        return found

    async def versions(
        self, scope: Scope, appointment: Appointment, limit: int, cursor: str | None
    ) -> Page[SummaryVersion]:
        """Every version, newest first. Raises `ValueError` for a foreign cursor."""
        before = _BEYOND if cursor is None else decode_cursor(cursor, int)[0]
        found: Sequence[SummaryVersion] = await self._consultations.before(scope, appointment.id, before, limit)
        more = len(found) == limit and found[-1].version > NOTHING_YET + 1
        return Page(found, encode_cursor(found[-1].version) if more else None)

    async def prescription(self, scope: Scope, appointment: Appointment, number: int | None) -> tuple[int, bytes]:
        """A version's number and its prescription as PDF; None: the version that stands.

        Raises `not_found` where there is none, or nothing is prescribed in it, and `erased`.
        """
        if number is None:
            version: SummaryVersion | None = await self.newest(scope, appointment)
        else:
            version = await self._consultations.find(scope, appointment.id, number)
        if version is None:
            raise not_found()
        if version.record is None:
            raise VisitNowError(Code.ERASED)
        if not version.record.summary.prescription:
            raise not_found()
        # Making room for a font takes longer than a loop that serves others may be held.
        return version.version, await asyncio.to_thread(prescription_pdf, version, version.record)


def check_author(author: Principal, appointment: Appointment) -> None:
    """Raise `forbidden` for everybody but the doctor whose visit it is, `state_conflict` before it has begun."""
    if author.provider_id != appointment.provider_id:
        raise VisitNowError(Code.FORBIDDEN)
    if appointment.state not in WRITABLE:
        raise VisitNowError(Code.STATE_CONFLICT)


def _check(appointment: Appointment, summary: Summary) -> None:
    if summary.follow_up_on is not None and summary.follow_up_on < appointment.start.date():
        raise invalid("follow_up_on", "before_the_visit", "must not lie before the visit")
    for number, item in enumerate(summary.prescription):
        for name, text in item.model_dump(exclude_none=True).items():
            if not is_printable(text):
                field = f"prescription.{number}.{name}"
                raise invalid(field, "not_printable", "has letters that cannot be printed: use Latin or Devanagari")


def _now() -> datetime:
    """This instant, as precise as a database keeps it."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
