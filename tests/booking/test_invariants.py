"""The invariants can fail: each is broken in what was really seen of a stack, and is found broken."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import pytest
import pytest_asyncio

from models.ids import random_id
from tests import clinics
from tests.booking.support import book_paid, cancel, somebody, temporal, until_refunded
from tests.clinics import Offer
from tests.invariants import Evidence, collect, violations
from tests.stack import Json, Stack, eventually
from workflows.operations import Reconcile, ReconciliationWorkflow

VISIT: Final = clinics.offer("steady", "visit")
SEAT: Final = clinics.offer("steady", "class", "group")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sound(shared_stack: Stack) -> Evidence:
    """A kept visit, a kept seat and a cancelled visit whose money went back."""
    kept, seat, cancelled = [await _paid(shared_stack, offer) for offer in (VISIT, SEAT, VISIT)]
    async with shared_stack.client(cancelled[1]) as who:
        assert (await cancel(who, cancelled[0])).is_success
        await until_refunded(who, cancelled[0], "processed")
    told = {kept[0]: ["held", "confirmed"], seat[0]: ["confirmed"], cancelled[0]: ["confirmed", "cancelled"]}
    client = await temporal(shared_stack)
    return await eventually(
        lambda: collect(shared_stack, client, told, only=list(told)), lambda seen: not violations(seen)
    )
