"""What an export tells of each document: the fields that are given, and those that are not, with the reason.

The tables are the documentation of the export's format too: its JSON Schema is made from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from models.exports import FORMAT, FORMAT_VERSION, ExportKind
from models.holdings import exported
from models.messaging import OPENING

ERASED: Final = "erased"
"""Stands in place of what nobody can read any more."""

_TYPES: Final[Mapping[str, object]] = {
    "text": ["string", "null"],
    "number": ["number", "null"],
    "flag": ["boolean", "null"],
    "list": ["array", "null"],
    "object": ["object", "null"],
    "any": ["string", "number", "boolean", "array", "object", "null"],
}
"""The first word of a field's description; an `instant` is a text in RFC 3339, in UTC."""

_INTERNAL: Final = {
    "version": "counts our own writes",
    "updated_at": "when we last wrote it",
    "body_hash": "tells a repeated request from another one",
    "unheard": "whether other parts of the system have yet to be told",
    "outbox": "news on its way to other parts of the system",
    "sealed": "given opened, under `personal`",
}

Fields = Mapping[str, str]
_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


class Shape(NamedTuple):
    """What of a collection's documents is given: fields in clear, then the fields of each sealed part."""

    collection: str
    title: str
    fields: Fields
    personal: Mapping[str, Fields] = _NONE
    left_out: Fields = _NONE
    whole: bool = False
    """Whether every field is given but those that are left out: a practice's own settings and plans."""

    def told(self, clear: Mapping[str, object], sealed: Mapping[str, Mapping[str, object] | None]) -> dict[str, object]:
        """A document as it is given; a sealed part whose key is gone is None."""
        if self.whole:
            names = [name for name in clear if name not in {"_id", *self.left_out, *_INTERNAL}]
        else:
            names = [name for name in self.fields if name in clear]
        given: dict[str, object] = {"id": clear["_id"], **{name: clear[name] for name in names}}
        personal = {name: self._part(name, content) for name, content in sealed.items() if self._knows(name)}
        opening = self.collection == "notifications" and clear.get("template") in set(OPENING)
        if opening and isinstance(part := personal.get("identity"), dict):
            # What opens something is nobody's record: a code or a link that was good for minutes.
            personal["identity"] = {name: value for name, value in part.items() if name == "to"}
        return {**given, "personal": personal} if personal else given

    def _knows(self, part: str) -> bool:
        return self.whole or part in self.personal

    def _part(self, name: str, content: Mapping[str, object] | None) -> object:
        if content is None:
            return ERASED
        return {field: value for field, value in content.items() if self.whole or field in self.personal[name]}

    @property
    def excused(self) -> frozenset[str]:
        """Fields that are not given, whatever is in them."""
        return frozenset({"_id", *self.left_out, *_INTERNAL})

    @property
    def schema(self) -> dict[str, object]:
        """The JSON Schema of one document."""
        properties: dict[str, object] = {"id": {"type": "string"}, **_properties(self.fields)}
        if self.personal:
            parts = {name: {"oneOf": [{"const": ERASED}, _object(one)]} for name, one in self.personal.items()}
            properties["personal"] = {"type": "object", "properties": parts, "additionalProperties": False}
        required = {"type": "object", "required": ["id"], "properties": properties}
        return {**required, "additionalProperties": self.whole}


def _properties(fields: Fields) -> dict[str, object]:
    return {name: _property(told) for name, told in fields.items()}


def _property(told: str) -> dict[str, object]:
    kind, _, description = told.partition(" ")
    if kind == "instant":
        return {"type": ["string", "null"], "format": "date-time", "description": description}
    return {"type": _TYPES[kind], "description": description}


def _object(fields: Fields) -> dict[str, object]:
    return {"type": "object", "properties": _properties(fields), "additionalProperties": False}


_WHOSE: Final = {
    "tenant_id": "text the practice, or `platform`",
    "subject_id": "text the account",
}
_VISIT: Final = {
    **_WHOSE,
    "clinic_id": "text the clinic",
    "provider_id": "text the doctor's profile at that clinic",
    "appointment_id": "text the visit",
}

_PERSONS: Final = (
    Shape(
        "users",
        "The account",
        {
            **_WHOSE,
            "roles": "list what somebody is: patient, doctor, staff, admin",
            "provider_id": "text a doctor's own profile",
            "clinic_ids": "list where they work",
            "locale": "text the language of messages",
            "timezone": "text the zone of their clock",
            "preferred_channel": "text by which they would rather be written to",
            "removed_at": "instant since when nobody signs in with it",
            "created_at": "instant since when there is the account",
        },
        {"identity": {"name": "text their name", "phone": "text their number", "email": "text their address"}},
        {
            "phone_index": "a keyed digest of the number, by which it is found at sign-in",
            "email_index": "a keyed digest of the address, likewise",
            "password_hash": "opens the account",
            "password_version": "counts the passwords that were set",
            "totp": "opens the account",
        },
    ),
    Shape(
        "dependants",
        "Those whom they book for",
        {**_WHOSE, "created_at": "instant since when they are known"},
        {
            "identity": {
                "name": "text their name",
                "date_of_birth": "instant the day on which they were born",
                "relation": "text what they are to the account's owner",
            }
        },
    ),
    Shape(
        "consents",
        "Every answer to a notice",
        {
            **_WHOSE,
            "about": "text whose data it is about",
            "purpose": "text what the data is used for",
            "granted": "flag yes or no",
            "notice_version": "number which version of the notice was answered",
            "language": "text in which language it was read",
            "notice_sha256": "text the digest of its words",
            "means": "text how the answer came",
            "capacity": "text as whom they answered",
            "number": "number counts the answers to one notice",
            "at": "instant when it was given",
        },
        left_out={"created_at": "the same as `at`"},
    ),
    Shape(
        "rights_requests",
        "Grievances and wishes for correction",
        {
            **_WHOSE,
            "kind": "text grievance or correction",
            "appointment_id": "text the visit that it is about",
            "state": "text received or answered",
            "received_at": "instant when it came",
            "due_at": "instant by when the law wants an answer",
            "reached": "number percent of that time at which those who answer were last warned",
            "outcome": "text granted or refused",
            "answered_at": "instant when it was answered",
        },
        {"text": {"text": "text what was asked"}, "answer": {"answer": "text what was answered"}},
    ),
    Shape(
        "sessions",
        "Where they are signed in",
        {
            **_WHOSE,
            "signed_in_at": "instant when it began",
            "rotated_at": "instant when it was last used",
            "expires_at": "instant until when it is good",
            "agent": "text what the browser called itself",
            "ended_at": "instant when it ended",
            "ended_because": "text why it ended",
        },
        left_out={"token_hash": "opens the account", "previous_hash": "opened the account"},
    ),
    Shape(
        "notifications",
        "Every message that was sent, and what became of it",
        {
            **_WHOSE,
            "channel": "text sms, whatsapp or email",
            "template": "text what it was about",
            "locale": "text its language",
            "expires_at": "instant until when it was worth sending",
            "notice_id": "text the notice that it was a try of",
            "appointment_id": "text the visit that it was about",
            "start": "instant when the visit was to begin, as it said",
            "state": "text what became of it",
            "error_code": "text the carrier's reason, where it was not taken",
            "provider_id": "text the carrier's name for it",
            "attempts": "number how often it was tried",
            "uncertain": "number how many tries followed one whose outcome nobody knew",
            "attempted_at": "instant when a try began whose outcome is not known yet",
            "log": "list what became of it, step by step",
            "created_at": "instant when it was written",
        },
        {
            "identity": {
                "to": "text where it went",
                "params": "object what filled its places; not of messages that open something",
                "words": "object what it said; not of messages that open something",
            }
        },
    ),
    Shape(
        "reviews",
        "Their ratings of visits",
        {
            **_VISIT,
            "practitioner_id": "text the doctor",
            "visited_at": "instant when the visit was",
            "rating": "number one to five stars",
            "nps": "number how likely they would recommend the doctor, 0 to 10",
            "state": "text whether everybody may read it",
            "live": "flag likewise",
            "created_at": "instant when it was first written",
        },
        {"identity": {"comment": "text what they wrote"}},
    ),
)

_VISITS: Final = (
    Shape(
        "appointments",
        "Their appointments",
        {
            **_VISIT,
            "practitioner_id": "text the doctor",
            "dependant_id": "text for whom of those they book for, where it is not for the account's owner",
            "service": "object what was booked, and its fee in paise",
            "start": "instant when it begins",
            "end": "instant when it ends",
            "timezone": "text the clinic's zone",
            "capacity": "number how many come at that time, where it is a group",
            "state": "text where it stands",
            "payment_state": "text what became of the money",
            "deadline": "instant until when it was to be paid",
            "order_id": "text the payment gateway's order",
            "payment_id": "text the payment gateway's payment",
            "captured": "number paise that were paid",
            "refund_reserved": "number paise that went or go back",
            "refunds": "list what went back and why",
            "waiting_for": "object what is awaited until when",
            "history": "list what happened when",
            "reminders": "list what they were reminded of when, or why not",
            "follow_up": "list what followed the visit",
            "closes_at": "instant when its day is over",
            "closed_at": "instant when it ended without a visit",
            "policy": "object the practice's rules that it was booked under",
            "policy_version": "number which version of them",
            "created_at": "instant when it was booked",
        },
        {
            "clinical": {
                "patient": "object for whom it is, where that is not the account's owner",
                "reason": "text why they come",
            },
            "cancellation": {"reason": "text why it was cancelled"},
            "override": {"reason": "text why the clinic gave a time outside the published ones"},
        },
    ),
    Shape(
        "consultations",
        "What doctors wrote of the visits, in every version",
        {
            **_VISIT,
            "author_id": "text the account that wrote it",
            "summary_version": "number which version it is",
            "created_at": "instant when it was written",
        },
        {
            "clinical": {
                "summary": "object notes, diagnosis, prescription and when to come again",
                "patient": "object who the patient was on that day",
                "doctor": "object who wrote it, with their registration",
                "place": "object where and when the patient was seen",
            }
        },
    ),
    Shape(
        "documents",
        "Documents of the visits; the files themselves are in `files/`",
        {
            **_VISIT,
            "kind": "text what it is",
            "media_type": "text of which type the file is",
            "size": "number its bytes",
            "scanned_by": "text what looked into it",
            "by": "text who added it: patient or clinic",
            "author_id": "text the account that added it",
            "state": "text `stored`, or `storing` where that was never ended",
            "created_at": "instant when it was added",
        },
        {
            "clinical": {
                "name": "text the file's name",
                "sha256": "text the file's digest",
                "size": "number its bytes",
            }
        },
        {"digest": "a keyed digest by which the same file is known again"},
    ),
    Shape(
        "payments",
        "What was paid",
        {
            **_WHOSE,
            "appointment_id": "text the visit",
            "order_id": "text the payment gateway's order",
            "amount": "number paise",
            "platform_fee": "number paise of it that are the platform's",
            "method": "text how it was paid",
            "stray": "flag whether it was paid although nothing was owed",
            "created_at": "instant when it was taken",
        },
    ),
    Shape(
        "refunds",
        "What was paid back",
        {
            **_WHOSE,
            "appointment_id": "text the visit",
            "payment_id": "text the payment that it is of",
            "amount": "number paise",
            "reason": "text why",
            "state": "text what became of it",
            "gateway_refund_id": "text the payment gateway's name for it",
            "created_at": "instant when it was promised",
        },
        {"financial": {"note": "text what the clinic wrote beside it"}},
        {"is_open": "whether we still look after it"},
    ),
    Shape(
        "notices",
        "What they were to be told about their visits, and how that ended",
        {
            **_WHOSE,
            "appointment_id": "text the visit",
            "template": "text what it was about",
            "occurrence": "text of which event, or which time of the visit",
            "expires_at": "instant until when it was worth telling",
            "state": "text how it ended",
            "reason": "text why nobody was told",
            "created_at": "instant when it was planned",
        },
    ),
    Shape(
        "audit",
        "Who did what with their data",
        {
            **_WHOSE,
            "at": "instant when it happened",
            "actor": "text whose act it was",
            "actor_kind": "text patient, clinic, system or operator",
            "action": "text what was done",
            "target": "text to what",
            "why": "text by which route",
        },
        left_out={
            "stamp": "the entry's place in the sealed chain",
            "origin": "the address of whoever did it, who may be somebody else",
        },
    ),
)

_SHAPES: Final = {one.collection: one for one in (*_PERSONS, *_VISITS)}

_PRACTICES_OWN: Final = (
    Shape("tenants", "The practice and its settings", {}, whole=True),
    Shape("clinics", "Its clinics", {}, whole=True),
    Shape("providers", "Its doctors' profiles", {}, whole=True),
    Shape("services", "What they offer", {}, whole=True),
    Shape("availability", "Their published hours", {}, whole=True),
    Shape("leaves", "Their leave", {}, whole=True),
    Shape("settings_versions", "Earlier settings", {}, whole=True),
    Shape("message_templates", "Its own words of messages", {}, whole=True),
    Shape("ledger", "The books: every payment and refund as a balanced transaction", {}, whole=True),
    Shape("staff_tasks", "What the front desk had to do", {}, whole=True),
)
_OF_PATIENTS: Final = (
    "appointments", "consultations", "documents", "payments", "refunds", "notices", "reviews", "rights_requests",
)  # fmt: skip
"""What a practice holds of its patients; whoever they are stands in the FHIR bundles."""


def shapes_of(kind: ExportKind) -> Sequence[Shape]:
    """What an export gives, collection by collection. Raises KeyError where something held has no shape."""
    if kind is ExportKind.TENANT:
        return (*_PRACTICES_OWN, _SHAPES["users"], *(_SHAPES[name] for name in _OF_PATIENTS))
    return tuple(_SHAPES[name] for name in dict.fromkeys(one.collection for one in exported()))


def schema_of(kind: ExportKind) -> dict[str, object]:
    """The JSON Schema of every file in `data/` and of the manifest (2020-12)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{FORMAT} {FORMAT_VERSION}, {kind}",
        "description": "A file of data/ is one of the data definitions, by its collection; manifest.json is manifest.",
        "$defs": {"manifest": _MANIFEST, **{one.collection: _file_schema(one) for one in shapes_of(kind)}},
    }


def _file_schema(shape: Shape) -> dict[str, object]:
    return {
        "title": shape.title,
        "type": "object",
        "required": ["collection", "documents"],
        "properties": {
            "collection": {"const": shape.collection},
            "documents": {"type": "array", "items": shape.schema},
        },
        "additionalProperties": False,
    }


_MANIFEST: Final[dict[str, object]] = {
    "type": "object",
    "required": ["format", "version", "export_id", "kind", "about", "requested_at", "files"],
    "properties": {
        "format": {"const": FORMAT},
        "version": {"const": FORMAT_VERSION},
        "export_id": {"type": "string"},
        "kind": {"enum": [one.value for one in ExportKind]},
        "about": {"type": "string", "description": "The account or the practice whose data it is."},
        "requested_at": {"type": "string", "format": "date-time"},
        "files": {
            "type": "array",
            "description": "Every file but this one.",
            "items": {
                "type": "object",
                "required": ["name", "size", "sha256"],
                "properties": {
                    "name": {"type": "string"},
                    "size": {"type": "integer"},
                    "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                    "documents": {"type": "integer", "description": "How many things it tells of."},
                    "damaged": {"type": "boolean", "description": "Whether it was damaged where it was stored."},
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}
