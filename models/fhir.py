"""Records of care as FHIR R4 resources (HL7, 4.0.1; R4B has the same for these): pure functions from our own models.

Resources name each other by `urn:uuid`, so that a bundle stands by itself (R4, Bundle, "resolving references").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from html import escape
from typing import Any, Final, NamedTuple
from unicodedata import category
from uuid import NAMESPACE_URL, uuid5

from models.booking import Appointment, AppointmentState, PatientDetails
from models.consultation import PrescriptionItem, SummaryVersion
from models.documents import Document
from models.identity import Account
from models.ids import reference as front_desk_reference
from models.providers import Clinic, Gender, Provider, VisitMode

Resource = dict[str, Any]

_S = AppointmentState
_STATUS: Final[Mapping[AppointmentState, str]] = {
    _S.HELD: "pending",
    _S.CONFIRMED: "booked",
    _S.CHECKED_IN: "checked-in",
    _S.IN_CONSULTATION: "arrived",
    _S.COMPLETED: "fulfilled",
    _S.NO_SHOW: "noshow",
    _S.EXPIRED: "cancelled",
    _S.CANCELLED: "cancelled",
}
_ENCOUNTER: Final[Mapping[AppointmentState, str]] = {
    _S.CHECKED_IN: "arrived",
    _S.IN_CONSULTATION: "in-progress",
    _S.COMPLETED: "finished",
}
"""Visits to which somebody came."""
_GENDER: Final[Mapping[Gender, str]] = {
    "female": "female", "male": "male", "other": "other", "unstated": "unknown",
}  # fmt: skip
_CLASS_SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_CLASS: Final[Mapping[VisitMode, tuple[str, str]]] = {
    VisitMode.IN_PERSON: ("AMB", "ambulatory"),
    VisitMode.VIDEO: ("VR", "virtual"),
}
_XHTML: Final = "http://www.w3.org/1999/xhtml"
_BREAKS: Final = "\n\r\t"
_SPACE: Final = "https://illajwala.com/fhir/"
"""Only a name under which identifiers are made; nothing is served there."""


class Visit(NamedTuple):
    """All that is known of one visit; what is None was never there, or its key is gone."""

    appointment: Appointment
    account: Account | None
    provider: Provider | None
    clinic: Clinic | None
    summary: SummaryVersion | None
    documents: Sequence[tuple[Document, str]]
    """Each with the name of its file in the export."""


def url_of(resource_type: str, key: str) -> str:
    """By which name a bundle knows a resource."""
    return f"urn:uuid:{uuid5(NAMESPACE_URL, f'{_SPACE}{resource_type}/{key}')}"


def entry(resource: Resource, key: str) -> Resource:
    """A resource in a bundle."""
    return {"fullUrl": url_of(resource["resourceType"], key), "resource": resource}


def entries_of(visit: Visit) -> list[Resource]:
    """Everything that a visit says, whoever and whatever it names first; some of it other visits name too."""
    found = [_patient(visit), _practitioner(visit), _location(visit), _appointment(visit)]
    if visit.appointment.state in _ENCOUNTER:
        found.append(_encounter(visit))
    if visit.summary is not None and visit.summary.record is not None:
        found += [*_condition(visit, visit.summary), *_medications(visit, visit.summary)]
    found += [_document(visit, one, name) for one, name in visit.documents]
    return [one for one in found if one is not None]


# Whom, by whom and where


def patient_key(subject_id: str, details: PatientDetails | None) -> str:
    """Who the patient is: the account's owner, or somebody for whom they book."""
    if details is None:
        return subject_id
    return f"{subject_id}/{details.name}/{details.date_of_birth}/{details.relation}"


def patient(account_id: str, account: Account | None, details: PatientDetails | None) -> Resource:
    """The patient, with as much as is known of them."""
    name = details.name if details is not None else (account.name if account is not None else None)
    born = details.date_of_birth if details is not None else None
    phone, email = (account.phone, account.email) if account is not None else (None, None)
    telecom = [{"system": kind, "value": value} for kind, value in (("phone", phone), ("email", email)) if value]
    own = [{"use": "official", "system": f"{_SPACE}account", "value": account_id}] if details is None else []
    return _given(
        {
            "resourceType": "Patient",
            "identifier": own,
            "name": [{"text": name}] if name else [],
            "telecom": telecom,
            "birthDate": None if born is None else born.isoformat(),
        }
    )


def _details(visit: Visit) -> PatientDetails | None:
    intake = visit.appointment.intake
    return None if intake is None else intake.patient


def _patient(visit: Visit) -> Resource:
    details, subject = _details(visit), visit.appointment.subject_id
    return entry(patient(subject, visit.account, details), patient_key(subject, details))


def _subject(visit: Visit) -> Resource:
    return _ref("Patient", patient_key(visit.appointment.subject_id, _details(visit)))


def _practitioner(visit: Visit) -> Resource:
    provider, key = visit.provider, visit.appointment.practitioner_id
    if provider is None:
        return entry({"resourceType": "Practitioner"}, key)
    registered = provider.registration
    qualification = {
        "identifier": [{"system": f"{_SPACE}registration", "value": registered.number}],
        "code": {"text": f"Registered with {registered.council}"},
        "period": {"start": f"{registered.year:04d}"},
    }
    resource = {
        "resourceType": "Practitioner",
        "name": [{"text": provider.name}],
        "gender": _GENDER[provider.gender],
        "qualification": [qualification],
    }
    return entry(_given(resource), key)


def _location(visit: Visit) -> Resource | None:
    clinic = visit.clinic
    if clinic is None:
        return None
    resource: Resource = {
        "resourceType": "Location",
        "status": "active",
        "name": clinic.name,
        "address": {"text": clinic.address, "city": clinic.city} if clinic.address else {"city": clinic.city},
    }
    return entry(_given(resource), clinic.id)


# The visit


def _appointment(visit: Visit) -> Resource:
    one = visit.appointment
    actors = [_subject(visit), _ref("Practitioner", one.practitioner_id)]
    if visit.clinic is not None:
        actors.append(_ref("Location", visit.clinic.id))
    status = "declined" if one.state in {_S.CANCELLED, _S.EXPIRED} else "accepted"
    resource = {
        "resourceType": "Appointment",
        "identifier": [{"system": f"{_SPACE}reference", "value": front_desk_reference(one.id)}],
        "status": _STATUS[one.state],
        "serviceType": [{"text": one.service.name}],
        "reasonCode": _reason(visit),
        "start": _instant(one.start),
        "end": _instant(one.end),
        "minutesDuration": one.service.duration_minutes,
        "created": _instant(one.created_at),
        "participant": [{"actor": actor, "status": status} for actor in actors],
    }
    return entry(_given(resource), one.id)


def _reason(visit: Visit) -> list[Resource]:
    intake = visit.appointment.intake
    return [{"text": intake.reason}] if intake is not None and intake.reason else []


def _encounter(visit: Visit) -> Resource:
    one = visit.appointment
    code, display = _CLASS[one.service.mode]
    resource = {
        "resourceType": "Encounter",
        "status": _ENCOUNTER[one.state],
        "class": {"system": _CLASS_SYSTEM, "code": code, "display": display},
        "subject": _subject(visit),
        "appointment": [_ref("Appointment", one.id)],
        "participant": [{"individual": _ref("Practitioner", one.practitioner_id)}],
        "period": {"start": _instant(one.start), "end": _instant(one.end)},
        "reasonCode": _reason(visit),
        "location": [{"location": _ref("Location", visit.clinic.id)}] if visit.clinic is not None else [],
        "text": _narrative(visit.summary),
    }
    return entry(_given(resource), one.id)


def _narrative(summary: SummaryVersion | None) -> Resource | None:
    """The doctor's notes, in their own words."""
    if summary is None or summary.record is None:
        return None
    notes = "".join(one for one in summary.record.summary.notes if one in _BREAKS or category(one) != "Cc")
    lines = escape(notes).replace("\n", "<br/>")
    return {"status": "additional", "div": f'<div xmlns="{_XHTML}"><p>{lines}</p></div>'}


def _of_encounter(visit: Visit) -> Resource | None:
    """A corrected visit may have a summary and be none to which somebody came."""
    one = visit.appointment
    return _ref("Encounter", one.id) if one.state in _ENCOUNTER else None


def _condition(visit: Visit, summary: SummaryVersion) -> Iterable[Resource]:
    if summary.record is None or summary.record.summary.diagnosis is None:
        return
    resource = {
        "resourceType": "Condition",
        "code": {"text": summary.record.summary.diagnosis},
        "subject": _subject(visit),
        "encounter": _of_encounter(visit),
        "recordedDate": _instant(summary.at),
        "recorder": _ref("Practitioner", visit.appointment.practitioner_id),
    }
    yield entry(_given(resource), visit.appointment.id)


def _medications(visit: Visit, summary: SummaryVersion) -> Iterable[Resource]:
    if summary.record is None:
        return
    for number, item in enumerate(summary.record.summary.prescription, start=1):
        dosage = _dosage(item)
        resource = {
            "resourceType": "MedicationRequest",
            "status": "unknown",  # nobody tells us whether it is still taken
            "intent": "order",
            "medicationCodeableConcept": {"text": item.medicine},
            "subject": _subject(visit),
            "encounter": _of_encounter(visit),
            "authoredOn": _instant(summary.at),
            "requester": _ref("Practitioner", visit.appointment.practitioner_id),
            "dosageInstruction": [{"text": dosage}] if dosage else [],
        }
        yield entry(_given(resource), f"{visit.appointment.id}/{number}")


def _dosage(item: PrescriptionItem) -> str:
    return ", ".join(one for one in (item.dose, item.frequency, item.duration, item.instructions) if one)


def _document(visit: Visit, document: Document, file: str) -> Resource:
    encounter = _of_encounter(visit)
    context = {
        "encounter": [] if encounter is None else [encounter],
        "related": [_ref("Appointment", visit.appointment.id)],
    }
    title = document.contents.name if document.contents is not None else None
    attachment = {"contentType": document.media_type, "url": file, "size": document.size, "title": title}
    resource = {
        "resourceType": "DocumentReference",
        "status": "current",
        "type": {"text": document.kind.replace("_", " ")},
        "subject": _subject(visit),
        "date": _instant(document.at),
        "content": [{"attachment": attachment}],
        "context": context,
    }
    return entry(_given(resource), document.id)


def _ref(resource_type: str, key: str) -> Resource:
    return {"reference": url_of(resource_type, key), "type": resource_type}


def _given(resource: Mapping[str, object]) -> Resource:
    """Without what is not there: in FHIR nothing is empty, and no text is blank or holds what cannot be seen."""
    cleaned = {name: _cleaned(value) for name, value in resource.items()}
    return {name: value for name, value in cleaned.items() if value is not None}


def _cleaned(value: object) -> object:
    """The value; None where nothing is left of it."""
    match value:
        case dict():
            return _given(value) or None
        case list():
            return [one for one in map(_cleaned, value) if one is not None] or None
        case str():
            seen = "".join(one for one in value if one in _BREAKS or category(one) != "Cc")
            return seen if seen.strip() else None
        case _:
            return value


def _instant(value: datetime | date) -> str:
    return value.isoformat().replace("+00:00", "Z")
