"""One person who is to be forgotten, a hold on another, and every method of their repositories."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from adapters.mongo.repositories import Repositories
from models.booking import PlaceBooking
from models.data_classes import RetentionClass
from models.deletions import Deletion, DeletionState, LogEntry, Retained
from models.deletions_ports import Visit
from models.erasure import ErasureReceipt, Store
from models.holds import HoldReason, LegalHold
from models.identity import Scope, System
from tests.adapters.mongo.builders import DAY, an_entry, new
from tests.adapters.mongo.people import now

_WORLD = System("the tests' world")
Call = Callable[[Scope], Awaitable[object]]


def a_deletion(subject_id: str, **changes: object) -> Deletion:
    """Somebody has asked to be forgotten."""
    fields: dict[str, object] = {
        "id": new("del"),
        "subject_id": subject_id,
        "challenge_id": new("otp"),
        "body_hash": "0" * 64,
        "reason": "I have moved",
        "requested_at": DAY,
    }
    return Deletion.model_validate({**fields, **changes})


def a_hold(subject_id: str, **changes: object) -> LegalHold:
    """A court wants something kept."""
    fields: dict[str, object] = {
        "id": new("hld"),
        "subject_id": subject_id,
        "reason": HoldReason.COURT_ORDER,
        "reference": "OS/12/2031",
        "placed_by": new("usr"),
        "placed_at": now(),
        "until": now() + timedelta(days=1),
    }
    return LegalHold.model_validate({**fields, **changes})


def what_stays(**changes: object) -> Retained:
    """Who they are, for a while."""
    fields: dict[str, object] = {"retained_under": RetentionClass.IDENTITY, "rule": "a rule", "until": DAY}
    return Retained.model_validate({**fields, **changes})


async def build(stores: Repositories, of: PlaceBooking) -> Deletion:
    """Put it there."""
    return await stores.deletions.add(_WORLD, a_deletion(of.subject_id))


def on_records(stores: Repositories, deletion: Deletion) -> dict[str, Call]:
    """Methods on what belongs to a patient."""
    deletions, holds, one, subject = stores.deletions, stores.holds, deletion.id, deletion.subject_id
    hold, later = a_hold(subject), DAY + timedelta(days=1)
    receipt = ErasureReceipt(
        store=Store.MONGODB, part="users", data_class=RetentionClass.IDENTITY, erased=1, kept=0, at=DAY
    )
    entry = LogEntry(
        deletion_id=new("del"), subject_id=subject, requested_at=DAY, confirmed_at=DAY, restricted_at=DAY, at=DAY
    )
    return {
        "deletions.add": lambda scope: deletions.add(scope, a_deletion(subject)),
        "deletions.find": lambda scope: deletions.find(scope, one),
        "deletions.of_subject": lambda scope: deletions.of_subject(scope, subject),
        "deletions.ask_again": lambda scope: deletions.ask_again(scope, one, new("otp")),
        "deletions.confirm": lambda scope: deletions.confirm(scope, one, DAY, later),
        "deletions.advance": lambda scope: deletions.advance(scope, one, DeletionState.GRACE, DAY),
        "deletions.note_waiting": lambda scope: deletions.note_waiting(scope, one, ["refund"]),
        "deletions.plan": lambda scope: deletions.plan(scope, one, [what_stays()]),
        "deletions.found": lambda scope: deletions.found(scope, one, (Store.REDIS, RetentionClass.NONE), {"limit": 1}),
        "deletions.receive": lambda scope: deletions.receive(scope, one, [receipt]),
        "deletions.settle": lambda scope: deletions.settle(scope, deletion, [what_stays()]),
        "deletions.certify": lambda scope: deletions.certify(scope, deletion, "a.b.c"),
        "deletions.retained_due": lambda scope: deletions.retained_due(scope, later, 5),
        "deletions.look_again": lambda scope: deletions.look_again(scope, subject, "hld_lifted", later),
        "deletions.leaving": lambda scope: deletions.leaving(scope, DAY),
        "deletions.standing": lambda scope: deletions.standing(scope, subject),
        "deletions.restore": lambda scope: deletions.restore(scope, entry),
        "holds.place": lambda scope: holds.place(scope, hold),
        "holds.find": lambda scope: holds.find(scope, hold.id),
        "holds.standing": lambda scope: holds.standing(scope, subject, now()),
        "holds.page": lambda scope: holds.page(scope, subject, now(), (DAY, hold.id), 5),
        "holds.page of anybody": lambda scope: holds.page(scope, None, now(), None, 5),
        "holds.lift": lambda scope: holds.lift(scope, hold.id, new("usr"), now()),
        "subject_visits.look": lambda scope: _visits(stores, scope, subject),
    }


async def _visits(stores: Repositories, scope: Scope, subject: str) -> list[Visit]:
    return list((await stores.subject_visits.look(scope, subject, now())).visits)


def of_everybody(stores: Repositories) -> dict[str, Call]:
    """Methods of what serves all tenants."""
    return {
        "deletions.entries": lambda _: stores.deletions.entries(5),
        "deletions.carried": lambda _: stores.deletions.carried([an_entry()]),
        "upkeep.unbegun_deletions": lambda scope: stores.upkeep.unbegun_deletions(scope, now(), 5),
    }
