"""What each collection holds about patients: the one table that erasing, exporting and retention go by.

A patient is the subject of everything that carries their id. An id is random and says nothing by itself; who it stands
for lies sealed in `users`, and is gone for good with the subject's identity key. So what holds ids, times and amounts
only may stay, and each line that does stay says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import groupby
from typing import Final, NamedTuple

from models.data_classes import DataClass, RetentionClass

_R = RetentionClass


class Treatment(StrEnum):
    """What erasing does to a document."""

    DELETE = "delete"
    BLANK = "blank"
    """What is sealed and the named texts go; ids, times and amounts stay."""
    KEEP = "keep"
    """Nothing of it says anything about a person but by an id."""


class Holding(NamedTuple):
    """One thing that a collection holds; a collection whose parts are kept for different times has several."""

    collection: str
    treatment: Treatment
    retained_under: RetentionClass = _R.NONE
    subject_field: str | None = None
    """Where the patient's id stands (`list.field`: in the items of a list); None where it is about no patient."""
    data_class: DataClass | None = None
    """The class whose key seals it."""
    sealed: str | None = None
    """Where the sealed value stands, or the subdocument of sealed values."""
    blanks: tuple[str, ...] = ()
    """Texts in clear that become empty where the document is blanked."""
    dated_by: str | None = None
    """The instant from which its time of retention runs, for those who stay with us; None: as long as they do."""
    exported: bool = False
    """Whether somebody who asks for their data is given it."""
    folder: str | None = None
    """Within which folder of object storage (empty: none) each document has one by its id, which goes before it."""
    only_in: tuple[str, ...] = ()
    """The states in which it becomes too old; none: in every one."""
    carried: bool = False
    """Whether who carried it keeps its words too, and is to forget them before it goes."""
    is_subject: bool = False
    """Whether each document is a subject of its own, whose key goes with it."""
    reason: str = ""
    """Why it stays, or why it is no patient's."""

    def folder_of(self, document_id: str) -> str | None:
        """Where a document's objects lie; None where it has none."""
        if self.folder is None:
            return None
        return f"{self.folder}/{document_id}/" if self.folder else f"{document_id}/"


def _nobodys(collection: str, reason: str) -> Holding:
    return Holding(collection, Treatment.KEEP, reason=reason)


def _ids_only(collection: str, subject_field: str, reason: str, *, exported: bool = False) -> Holding:
    return Holding(collection, Treatment.KEEP, subject_field=subject_field, exported=exported, reason=reason)


def _log(collection: str, dated_by: str, *, exported: bool = False, carried: bool = False) -> Holding:
    return Holding(
        collection, Treatment.DELETE, _R.LOGS, "subject_id", dated_by=dated_by, exported=exported, carried=carried
    )


_PATIENTS: Final = (
    # Who they are.
    Holding("users", Treatment.DELETE, _R.IDENTITY, "_id", DataClass.IDENTITY, "sealed", exported=True),
    Holding("dependants", Treatment.DELETE, _R.IDENTITY, "subject_id", DataClass.IDENTITY, "sealed", exported=True),
    Holding("consents", Treatment.DELETE, _R.IDENTITY, "subject_id", exported=True),
    Holding("rights_requests", Treatment.BLANK, _R.IDENTITY, "subject_id", DataClass.IDENTITY, "sealed", exported=True),
    # By what they come in and are written to: of no use to anybody once they are gone.
    Holding("sessions", Treatment.DELETE, _R.NONE, "subject_id", exported=True),
    Holding("otp_challenges", Treatment.DELETE, _R.NONE, "subject_id", DataClass.IDENTITY, "sealed"),
    Holding("notifications", Treatment.BLANK, _R.NONE, "subject_id", DataClass.IDENTITY, "sealed", exported=True),
    Holding("uploads", Treatment.DELETE, _R.NONE, "subject_id", DataClass.CLINICAL, "sealed", folder="uploads"),
    Holding("exports", Treatment.DELETE, _R.NONE, "subject_id", DataClass.IDENTITY, "sealed", folder="exports"),
    # A review's stars count on without its words.
    Holding("reviews", Treatment.BLANK, _R.NONE, "subject_id", DataClass.IDENTITY, "sealed", exported=True),
    # Their visits.
    Holding(
        "appointments",
        Treatment.BLANK,
        _R.CLINICAL,
        "subject_id",
        DataClass.CLINICAL,
        "sealed",
        ("body_hash",),
        "end",
        exported=True,
    ),
    Holding("slots", Treatment.BLANK, _R.CLINICAL, "subject_id", DataClass.CLINICAL, "intake", ("body_hash",)),
    Holding(
        "slots",
        Treatment.BLANK,
        _R.CLINICAL,
        "seats.subject_id",
        DataClass.CLINICAL,
        "seats.intake",
        ("seats.body_hash",),
    ),
    Holding(
        "consultations",
        Treatment.DELETE,
        _R.CLINICAL,
        "subject_id",
        DataClass.CLINICAL,
        "sealed",
        dated_by="created_at",
        exported=True,
    ),
    Holding(
        "documents",
        Treatment.DELETE,
        _R.CLINICAL,
        "subject_id",
        DataClass.CLINICAL,
        "sealed",
        dated_by="created_at",
        exported=True,
        folder="documents",
    ),
    # Their money: what it was for and how much are ids and amounts, which the books are made of.
    Holding(
        "refunds",
        Treatment.BLANK,
        _R.FINANCIAL,
        "subject_id",
        DataClass.FINANCIAL,
        "sealed",
        dated_by="created_at",
        exported=True,
    ),
    _ids_only("payments", "subject_id", "the books: ids, amounts and by what kind of means", exported=True),
    # What was done for them and when.
    _log("notices", "created_at", exported=True),
    _log("notifications", "created_at", carried=True),
    _log("staff_tasks", "created_at"),
    _log("absence_offers", "created_at"),
    # That somebody asked to be forgotten, and the certificate: ids and times; why they did goes with who they were.
    Holding("deletions", Treatment.BLANK, _R.IDENTITY, "subject_id", DataClass.IDENTITY, "sealed"),
    _ids_only("legal_holds", "subject_id", "what may not be erased, why, and under which number: no words of anybody"),
    _ids_only(
        "audit",
        "subject_id",
        "who did what when, in ids: nobody can take an entry out, or the chain that proves the others would break",
        exported=True,
    ),
)

_NOBODYS: Final = (
    Holding(
        "applications",
        Treatment.DELETE,
        _R.IDENTITY,
        data_class=DataClass.IDENTITY,
        sealed="sealed",
        dated_by="updated_at",
        folder="",
        only_in=("rejected", "withdrawn"),
        is_subject=True,
        reason="whoever applies for a practice; one that was approved becomes the practice's file",
    ),
    _nobodys("audit_seals", "hashes over the audit's entries"),
    _nobodys("availability", "a doctor's published hours"),
    _nobodys("clinics", "what stands on a clinic's door"),
    _nobodys("day_tokens", "a doctor's day: the appointments' ids in the order of their numbers"),
    _nobodys("domains", "hosts of clinics"),
    _nobodys("invites", "whoever is invited to work at a clinic: an invitation is a subject of its own"),
    _nobodys("leaves", "a doctor's leave, its reason sealed under the doctor's own key"),
    _nobodys("ledger", "accounts and amounts, named by the payment and the appointment"),
    _nobodys("message_stops", "keyed digests of pairs of sender and number: who has said STOP stays unwritten to"),
    _nobodys("message_templates", "a clinic's own words, with places for what is to be filled in"),
    _nobodys("outbound_deliveries", "nothing is written to it"),
    _nobodys("outbound_hooks", "nothing is written to it"),
    _nobodys("practitioners", "doctors, by their public registration"),
    _nobodys("provider_days", "the projection that searches read: published profiles and free days"),
    _nobodys("providers", "doctors' published profiles"),
    _nobodys("relay_leases", "which process does a job now"),
    _nobodys("rollups", "nothing is written to it"),
    _nobodys("services", "what doctors offer"),
    _nobodys("settings_versions", "a tenant's settings"),
    _nobodys("sign_in_tries", "counters under keyed digests, which lapse within two days; a patient's own go at once"),
    _nobodys("tenants", "practices and their settings"),
    _nobodys("waitlist", "nothing is written to it"),
    Holding(
        "webhook_inbox",
        Treatment.DELETE,
        _R.LOGS,
        dated_by="stored_at",
        reason="the gateway's ids of payments, orders and refunds; no name, number or address enters it",
    ),
)

HOLDINGS: Final[Sequence[Holding]] = (*_PATIENTS, *_NOBODYS)
"""Every collection of the application's database, each at least once; a test holds it complete."""


def about_patients() -> list[Holding]:
    """What is about patients."""
    return [one for one in HOLDINGS if one.subject_field is not None]


def exported() -> list[Holding]:
    """What somebody who asks for their data is given, each collection once."""
    return [one for one in HOLDINGS if one.exported]


def due(retained_under: RetentionClass) -> list[Holding]:
    """What of a patient goes when that time is over; what no rule keeps goes each time, since it may have come back."""
    return [
        one
        for one in about_patients()
        if one.treatment is not Treatment.KEEP and one.retained_under in {_R.NONE, retained_under}
    ]


def by_collection() -> Mapping[str, Sequence[Holding]]:
    """The table by the collections' names."""
    ordered = sorted(HOLDINGS, key=lambda one: one.collection)
    return {name: tuple(lines) for name, lines in groupby(ordered, key=lambda one: one.collection)}
