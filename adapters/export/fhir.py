"""Visits as FHIR R4 bundles, each resource validated before it is packed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from fhir.resources.R4B.appointment import Appointment as FhirAppointment
from fhir.resources.R4B.condition import Condition
from fhir.resources.R4B.documentreference import DocumentReference
from fhir.resources.R4B.encounter import Encounter
from fhir.resources.R4B.location import Location
from fhir.resources.R4B.medicationrequest import MedicationRequest
from fhir.resources.R4B.patient import Patient
from fhir.resources.R4B.practitioner import Practitioner
from pydantic import BaseModel, ValidationError

from adapters.export.sources import Left, Member, as_json, empty, file_name, gathered, numbered, plain
from models import fhir
from models.booking import Appointment, AppointmentQuery
from models.consultation_ports import Consultations
from models.documents_ports import Documents
from models.exports import Cursor
from models.identity import Account, Scope, Subject, System
from models.notice_ports import Accounts
from models.ports import Appointments, Directory

_KNOWN: Final[Mapping[str, type[BaseModel]]] = {
    "Appointment": FhirAppointment,
    "Condition": Condition,
    "DocumentReference": DocumentReference,
    "Encounter": Encounter,
    "Location": Location,
    "MedicationRequest": MedicationRequest,
    "Patient": Patient,
    "Practitioner": Practitioner,
}
_PAGE: Final = 50
MOST_VISITS: Final = 1000
"""So many visits stand in one bundle, at most."""

NAMES: Final = System("an export names the doctors and places of its visits")
PATIENTS: Final = System("a practice that leaves takes along who its patients are")


class InvalidResourceError(Exception):
    """A resource that we made is not what the standard wants; says where, never what."""


class Sources(NamedTuple):
    """Where visits and what they name are found."""

    appointments: Appointments
    consultations: Consultations
    documents: Documents
    directory: Directory
    accounts: Accounts


def validated(resource: fhir.Resource) -> fhir.Resource:
    """The resource itself. Raises `InvalidResourceError`."""
    kind = resource["resourceType"]
    try:
        _KNOWN[kind].model_validate(resource)
    except ValidationError as error:
        places = sorted({".".join(str(part) for part in one["loc"]) for one in error.errors(include_input=False)})
        # The library's own words repeat what they refuse.
        raise InvalidResourceError(f"{kind}: {', '.join(places)}") from None
    return resource


class FhirSource:
    """All visits of the scope, with whom and what they name, in bundles that stand by themselves."""

    name = "fhir"

    def __init__(self, sources: Sources, scope: Scope, at: datetime, left: Left, *, most: int = MOST_VISITS) -> None:
        """`at` is what the bundles say they were made at."""
        self._left = left
        self._sources = sources
        self._scope = scope
        self._at = at
        self._most = most

    async def members(self, cursor: Cursor) -> AsyncIterator[Member]:
        """Bundles of at most so many visits; the first is there even where there are none."""
        number, after = cursor.number, cursor.after
        while number == 1 or after is not None:
            member = Member(numbered("fhir/bundle", number, ".json"), empty())
            member.content = gathered(self._bundle(member, after))
            yield member
            number, after = number + 1, member.behind

    async def _bundle(self, member: Member, after: str | None) -> AsyncIterator[bytes]:
        member.documents, member.behind = 0, None
        seen: set[str] = set()
        yield b'{"resourceType":"Bundle","type":"collection","timestamp":' + as_json(plain(self._at))
        opening = b',"entry":[\n'
        async for one in self._entries(member, after):
            if one["fullUrl"] in seen:
                continue
            seen.add(one["fullUrl"])
            validated(one["resource"])
            yield opening + as_json(one)
            opening = b",\n"
        yield b"\n]}\n" if seen else b"}\n"

    async def _entries(self, member: Member, after: str | None) -> AsyncIterator[fhir.Resource]:
        accounts: dict[str, Account | None] = {}
        if isinstance(self._scope, Subject):
            owner = self._scope.subject_id
            accounts[owner] = await self._sources.accounts.find(self._scope, owner)
            yield fhir.entry(fhir.patient(owner, accounts[owner], None), fhir.patient_key(owner, None))
        visits, left = 0, await self._left.among(self._scope)
        while True:
            page = await self._sources.appointments.page(self._scope, AppointmentQuery(limit=_PAGE), after)
            theirs = [one for one in page.items if one.subject_id not in left]
            for visit in await self._visits(theirs, accounts):
                for one in fhir.entries_of(visit):
                    yield one
            visits += len(theirs)
            after = page.next_cursor
            if after is None or visits >= self._most:
                break
        member.documents, member.behind = visits, after

    async def _visits(self, page: Sequence[Appointment], accounts: dict[str, Account | None]) -> Sequence[fhir.Visit]:
        sources = self._sources
        providers = await sources.directory.profiles(NAMES, sorted({one.provider_id for one in page}))
        clinics = await sources.directory.clinics(NAMES, sorted({one.clinic_id for one in page}))
        for subject in sorted({one.subject_id for one in page} - accounts.keys()):
            accounts[subject] = await sources.accounts.find(PATIENTS, subject)
        found = []
        for one in page:
            summary = await sources.consultations.newest(self._scope, one.id)
            documents = await sources.documents.of_appointment(self._scope, one.id)
            found.append(
                fhir.Visit(
                    one,
                    accounts[one.subject_id],
                    providers.get(one.provider_id),
                    clinics.get(one.clinic_id),
                    summary,
                    [(each, file_name(each.id, each.contents)) for each in documents if each.contents is not None],
                )
            )
        return found
