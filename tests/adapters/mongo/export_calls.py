"""One export, and every method of the repositories that make it."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from datetime import timedelta

from adapters.mongo.repositories import Repositories
from models.booking import PlaceBooking
from models.exports import KEY_BYTES, Cursor, Export, ExportKind, ExportState, Portion
from models.holdings import exported
from models.identity import PLATFORM, Scope, Subject, System, Tenant
from tests.adapters.mongo.builders import DAY, minutes, new

_WORLD = System("the tests' world")
Call = Callable[[Scope], Awaitable[object]]


def an_export(of: PlaceBooking) -> Export:
    """The patient's."""
    return Export(
        id=new("exp"),
        kind=ExportKind.SUBJECT,
        about=of.subject_id,
        tenant_id=PLATFORM,
        subject_id=of.subject_id,
        requested_at=DAY,
        due_at=DAY + timedelta(hours=72),
        lifetime_seconds=60,
        key=secrets.token_bytes(KEY_BYTES),
    )


async def build(stores: Repositories, of: PlaceBooking) -> Export:
    """Put it there."""
    return await stores.exports.begin(_WORLD, an_export(of))


def on_records(stores: Repositories, export: Export) -> dict[str, Call]:
    """Methods on what belongs to a patient."""
    exports, portion = stores.exports, Portion(name="abc", size=10)

    async def stream(scope: Scope) -> list[object]:
        whose = Subject(export.about) if isinstance(scope, System) else scope
        found: list[object] = []
        for collection in sorted({one.collection for one in exported()}):
            found += [each async for batch in await stores.holdings.stream(whose, collection) for each in batch]
        return found

    async def visits(scope: Scope) -> list[object]:
        whose = Tenant(export.tenant_id) if isinstance(scope, System) else scope
        return [each async for batch in await exports.visits(whose) for each in batch]

    return {
        "exports.visits": visits,
        "exports.begin": lambda scope: exports.begin(scope, export),
        "exports.find": lambda scope: exports.find(scope, export.id),
        "exports.add": lambda scope: exports.add(scope, export, portion, Cursor(source="fhir")),
        "exports.reach": lambda scope: exports.reach(scope, export.id, 50),
        "exports.finish": lambda scope: exports.finish(scope, export, "0" * 64, DAY),
        "exports.stop": lambda scope: exports.stop(scope, export.about, DAY),
        "exports.unbegun": lambda scope: exports.unbegun(scope, DAY + minutes(5), 10),
        "exports.over": lambda scope: exports.over(scope, DAY + minutes(5), 10),
        "exports.cleared": lambda scope: exports.cleared(scope, export.id, ExportState.STOPPED, DAY),
        "holdings.stream": stream,
    }
