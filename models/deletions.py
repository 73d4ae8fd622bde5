"""Being forgotten: what becomes of a person's wish to be erased, from the request to the certificate.

Digital Personal Data Protection Act 2023, section 12(3); Rules 2025, rule 8: what a law wants kept stays, locked away
from every other use, and goes when its time is over.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final, NamedTuple

from pydantic import Field, StringConstraints

from models.base import Id, Model, UtcDatetime
from models.booking import Actor
from models.compliance import AuditEntry
from models.data_classes import RetentionClass
from models.erasure import ErasureReceipt
from models.errors import Code, VisitNowError
from models.holds import LegalHold, held_by
from models.identity import PLATFORM
from models.policy import TenantPolicy

NOTICE: Final = timedelta(hours=48)
"""How long before it somebody is told that they will be erased (Rules 2025, rule 8(2); we do so for everybody)."""

QUIET: Final = timedelta(seconds=5)
"""After the end of every session nothing may come in any more: longer than anybody is believed to be signed in."""

REQUEST_TOKEN: Final = "del"  # noqa: S105  how such a token begins, not a secret
"""What a deletion's own token begins with."""

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]


class DeletionState(StrEnum):
    """How far a deletion is."""

    REQUESTED = "requested"
    IDENTITY_CONFIRMED = "identity_confirmed"
    GRACE = "grace"
    RESTRICTED = "restricted"
    LEGAL_HOLD = "legal_hold"
    ERASING = "erasing"
    ERASED = "erased"
    CANCELLED = "cancelled"


_S = DeletionState
TRANSITIONS: Final[Mapping[DeletionState, frozenset[DeletionState]]] = {
    _S.REQUESTED: frozenset({_S.IDENTITY_CONFIRMED, _S.CANCELLED}),
    _S.IDENTITY_CONFIRMED: frozenset({_S.GRACE, _S.CANCELLED}),
    _S.GRACE: frozenset({_S.RESTRICTED, _S.CANCELLED}),
    _S.RESTRICTED: frozenset({_S.ERASING, _S.LEGAL_HOLD}),
    _S.LEGAL_HOLD: frozenset({_S.ERASING}),
    _S.ERASING: frozenset({_S.ERASED}),
    _S.ERASED: frozenset(),
    _S.CANCELLED: frozenset(),
}
"""The one table of what a deletion may turn into."""

OPEN: Final = frozenset(state for state, after in TRANSITIONS.items() if after)
"""Nobody has two of these at once."""
LEAVING: Final = frozenset({_S.IDENTITY_CONFIRMED, _S.GRACE})
"""The account still opens, but only to take the deletion back."""
GONE: Final = frozenset({_S.RESTRICTED, _S.LEGAL_HOLD, _S.ERASING, _S.ERASED})
"""Nobody signs in any more, and nothing is done with what is kept."""

EVER: Final = datetime(2020, 1, 1, tzinfo=UTC)
"""Before anybody could be forgotten."""


def sources_of(target: DeletionState) -> frozenset[DeletionState]:
    """The states from which `target` may be reached."""
    return frozenset(state for state, after in TRANSITIONS.items() if target in after)


class Retained(Model):
    """What stays for a time, under which rule, and when it went at last."""

    retained_under: RetentionClass
    rule: str
    until: UtcDatetime
    hold_id: Id | None = None
    """The legal hold that keeps it beyond its own time."""
    own_until: UtcDatetime | None = None
    """The end of its own time, where a hold stands; None also where a hold was noted before that was."""
    erased_at: UtcDatetime | None = None

    def under(self, hold: LegalHold | None) -> Retained:
        """What it comes to with the hold that stands on it now; without any it has its own time again."""
        own = self.own_until or self.until
        if hold is None:
            return self.model_copy(update={"until": own, "hold_id": None, "own_until": None})
        return self.model_copy(update={"until": max(own, hold.until), "hold_id": hold.id, "own_until": own})


RULES: Final[Mapping[RetentionClass, str]] = {
    RetentionClass.IDENTITY: "Digital Personal Data Protection Rules 2025, rule 8(3)",
    RetentionClass.CLINICAL: "Indian Medical Council Regulations 2002, regulation 1.3.1",
    RetentionClass.FINANCIAL: "Companies Act 2013, section 128(5)",
    RetentionClass.LOGS: "Digital Personal Data Protection Rules 2025, rules 6(1)(e) and 8(3)",
}
"""Why each class stays; what belongs to none goes at once."""


class Deletion(Model):
    """One wish to be forgotten: for oneself, or for somebody whom one books for.

    The reason is sealed under the account's identity key; None where none was given.
    """

    id: Id
    subject_id: Id
    """The account that asks."""
    dependant_id: Id | None = None
    """Whom it asks for; None: for itself."""
    state: DeletionState = DeletionState.REQUESTED
    challenge_id: Id
    body_hash: str
    reason: str | None = None
    requested_at: UtcDatetime
    confirmed_at: UtcDatetime | None = None
    grace_until: UtcDatetime | None = None
    restricted_at: UtcDatetime | None = None
    erased_at: UtcDatetime | None = None
    cancelled_at: UtcDatetime | None = None
    waits_for: tuple[str, ...] = ()
    """What has to end before anything is erased: bookings, refunds, payments that may still come, a legal hold."""
    receipts: tuple[ErasureReceipt, ...] = ()
    retained: tuple[Retained, ...] = ()
    backups_lapse_at: UtcDatetime | None = None
    """When the last backup is gone from which what went could be read: of the vault, of the data."""
    certificate: str | None = None
    """The newest one, signed (JWS)."""
    certificate_number: int = 0
    version: int = 1

    @property
    def about(self) -> str:
        """Who is to be forgotten."""
        return self.dependant_id or self.subject_id


class DeletionRef(Model):
    """What a workflow knows of a deletion: ids and instants only."""

    deletion_id: Id
    subject_id: Id
    dependant_id: Id | None = None
    confirmed_at: UtcDatetime
    grace_until: UtcDatetime

    @classmethod
    def of(cls, deletion: Deletion) -> DeletionRef:
        """Its ids and times. Raises `state_conflict` where nobody has confirmed it."""
        if deletion.confirmed_at is None or deletion.grace_until is None:
            raise VisitNowError(Code.STATE_CONFLICT)
        return cls(
            deletion_id=deletion.id,
            subject_id=deletion.subject_id,
            dependant_id=deletion.dependant_id,
            confirmed_at=deletion.confirmed_at,
            grace_until=deletion.grace_until,
        )

    @property
    def about(self) -> str:
        """Who is to be forgotten."""
        return self.dependant_id or self.subject_id

    @property
    def notice_at(self) -> datetime | None:
        """When the last warning is due (UTC); None where the first word says it all."""
        notice = self.grace_until - NOTICE
        return notice if notice > self.confirmed_at else None


def grace_until(policy: TenantPolicy, confirmed_at: datetime) -> datetime:
    """Until when somebody who has confirmed may still take it back (UTC)."""
    if policy.deletion_grace_seconds is not None:
        return confirmed_at + timedelta(seconds=policy.deletion_grace_seconds)
    return confirmed_at + timedelta(days=policy.deletion_grace_days)


def request_token(secret: bytes, deletion_id: str) -> str:
    """What opens a deletion when its account is gone: `del.<64 hex digits>`, the same whenever it is asked for."""
    digest = hmac.digest(secret, f"deletion-token\n{deletion_id}".encode(), hashlib.sha256)
    return f"{REQUEST_TOKEN}.{digest.hex()}"


def opens(secret: bytes, deletion_id: str, token: str) -> bool:
    """Whether that is the deletion's own token."""
    return hmac.compare_digest(request_token(secret, deletion_id).encode(), token.encode())


def deletion_link(public_url: str, secret: bytes, deletion_id: str) -> str:
    """Where somebody sees how far their deletion is, also when their account is gone."""
    return f"{public_url}/privacy/deletions/{deletion_id}?request_token={request_token(secret, deletion_id)}"


def audit_of_deletion(deletion: Deletion, to: DeletionState, actor: Actor, at: datetime) -> AuditEntry:
    """The entry for a step of a deletion; its id makes writing it twice harmless."""
    return AuditEntry(
        id=f"{deletion.id}:{to}",
        tenant_id=PLATFORM,
        at=at,
        actor=actor.id,
        actor_kind=actor.kind,
        action=f"deletion.{to}",
        target=deletion.id,
        subject_id=deletion.subject_id,
    )


class Times(NamedTuple):
    """What the times of retention run from (UTC); None where there never was any."""

    restricted_at: datetime
    last_visit: datetime | None
    last_payment: datetime | None

    def base(self, retained_under: RetentionClass) -> datetime | None:
        """When that class's purpose ended; None where there is nothing of it."""
        match retained_under:
            case RetentionClass.CLINICAL:
                return self.last_visit
            case RetentionClass.FINANCIAL:
                return self.last_payment
            case _:
                return self.restricted_at


class Plan(Model):
    """What goes now and what stays; `held_until` is the end of a hold on something that would go now."""

    due: tuple[RetentionClass, ...]
    retained: tuple[Retained, ...]
    held_until: UtcDatetime | None = None


def plan_of(policy: TenantPolicy, times: Times, holds: Sequence[LegalHold], now: datetime) -> Plan:
    """What goes at `now`: what no rule keeps, and each class whose time is over and which no hold keeps.

    Whatever goes takes along what no rule keeps, so a hold on everything is always in the way.
    """
    due, retained, held = list[RetentionClass](), list[Retained](), list[datetime]()
    for one in RULES:
        base = times.base(one)
        until = now if base is None else base + policy.retention(one)
        hold = held_by(holds, one, now)
        if until <= now and hold is None:
            due.append(one)
            continue
        if hold is not None and until <= now:
            held.append(hold.until)
        retained.append(_staying(one, until, hold))
    if (everything := held_by(holds, RetentionClass.NONE, now)) is not None:
        held.append(everything.until)
    # What no rule keeps goes with any class, and by itself where all of them stay.
    return Plan(due=tuple(due) or (RetentionClass.NONE,), retained=tuple(retained), held_until=max(held, default=None))


def child_plan(policy: TenantPolicy, times: Times, holds: Sequence[LegalHold], now: datetime) -> Plan:
    """What goes at `now` of somebody without an account: who they are; the records of their visits stay their time.

    Those lie with whoever has the account and go record by record, visit by visit; the last one's end is told. `holds`
    are those on the account and on them.
    """
    goes = (held_by(holds, one, now) for one in (RetentionClass.NONE, RetentionClass.IDENTITY))
    held_until = max((one.until for one in goes if one is not None), default=None)
    retained, clinical = list[Retained](), RetentionClass.CLINICAL
    if times.last_visit is not None:
        hold, until = held_by(holds, clinical, now), times.last_visit + policy.retention(clinical)
        if until > now or hold is not None:
            retained.append(_staying(clinical, until, hold))
    return Plan(due=(RetentionClass.NONE,), retained=tuple(retained), held_until=held_until)


def _staying(retained_under: RetentionClass, until: datetime, hold: LegalHold | None) -> Retained:
    """What stays under its rule until then, or for as long as a hold on it stands."""
    return Retained(retained_under=retained_under, rule=RULES[retained_under], until=until).under(hold)


def certificate_of(deletion: Deletion, at: datetime, *, issuer: str) -> dict[str, object]:
    """What a certificate says, as plain JSON values: which store let go of how much when, and what stays until when."""
    said = deletion.model_dump(
        mode="json",
        include={
            "requested_at", "confirmed_at", "restricted_at", "erased_at", "receipts", "retained", "backups_lapse_at",
        },
    )  # fmt: skip
    return {
        "deletion": deletion.id,
        "subject": deletion.about,
        "number": deletion.certificate_number,
        "issued_at": at.isoformat().replace("+00:00", "Z"),
        "issued_by": issuer,
        **said,
    }


class LogEntry(Model):
    """What is written to object storage of a deletion, so that whoever restores an older backup can repeat it.

    Ids, classes and instants only. `erased` has the classes that went, each with the instant at which it had.
    """

    deletion_id: Id
    subject_id: Id
    dependant_id: Id | None = None
    """Whom the account asked for; None: for itself."""
    state: DeletionState = DeletionState.ERASED
    requested_at: UtcDatetime
    confirmed_at: UtcDatetime
    restricted_at: UtcDatetime
    erased: dict[RetentionClass, UtcDatetime] = Field(default_factory=dict)
    retained: tuple[Retained, ...] = ()
    at: UtcDatetime
    """When this was last written."""

    @property
    def about(self) -> str:
        """Who is to be forgotten."""
        return self.dependant_id or self.subject_id
