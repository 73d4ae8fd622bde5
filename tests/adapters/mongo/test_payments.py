"""Payments, refunds, the ledger and the inbox: each once, and forward only."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from pymongo.errors import WriteError

from adapters.mongo.client import Document
from adapters.mongo.repositories import Repositories
from models.errors import VisitNowError
from models.identity import Clinics, OwnProvider, Scope, Subject, System, Tenant
from models.payments import (
    RefundReason,
    RefundRecord,
    RefundState,
    WebhookEvent,
    capture_transaction,
    refund_transaction,
)
from tests.adapters.mongo.builders import DAY, a_capture, a_command, a_refund, a_step, minutes, new, past, soon

TENANT = Tenant("ten_a")
SWEEP = System("tests")


async def ledger(stores: Repositories, appointment_id: str) -> list[Document]:
    return await stores.database["ledger"].find({"appointment_id": appointment_id}, sort=[("_id", 1)]).to_list(None)


# captures


async def test_a_capture_and_its_transaction_are_written_once(stores: Repositories) -> None:
    capture = a_capture()
    transaction = capture_transaction(capture, DAY)
    await asyncio.gather(*(stores.payments.record_capture(TENANT, capture, transaction) for _ in range(10)))
    [posted] = await ledger(stores, capture.appointment_id)
    assert posted["_id"] == f"{capture.payment_id}:capture"
    assert isinstance(posted["lines"], list)
    assert [line["amount"] for line in posted["lines"]] == [50_000, -48_000, -2_000]
    payment = await stores.database["payments"].find_one({"_id": capture.payment_id})
    assert payment is not None
    assert {field: payment[field] for field in ("amount", "platform_fee", "method", "stray", "order_id")} == {
        **capture.model_dump(include={"amount", "platform_fee", "method", "stray", "order_id"})
    }


@pytest.mark.parametrize("missing", ["payments", "ledger"])
async def test_what_a_crash_left_out_is_made_by_the_retry(stores: Repositories, missing: str) -> None:
    capture = a_capture()
    transaction = capture_transaction(capture, DAY)
    await stores.payments.record_capture(TENANT, capture, transaction)
    await stores.database[missing].delete_many({"appointment_id": capture.appointment_id})
    await stores.payments.record_capture(TENANT, capture, transaction)
    assert await stores.database[missing].count_documents({"appointment_id": capture.appointment_id}) == 1


async def test_a_transaction_of_another_tenant_is_refused(stores: Repositories) -> None:
    capture = a_capture()
    foreign = capture_transaction(capture, DAY).model_copy(update={"tenant_id": "ten_b"})
    with pytest.raises(VisitNowError):
        await stores.payments.record_capture(TENANT, capture, foreign)
    assert await ledger(stores, capture.appointment_id) == []


@pytest.mark.parametrize("amounts", [[100, -99], [100], []])
async def test_the_database_refuses_a_transaction_that_does_not_balance(
    stores: Repositories, amounts: list[int]
) -> None:
    lines = [{"account": "a", "amount": amount, "item": "refund"} for amount in amounts]
    document = {"_id": new("tx"), "tenant_id": "t", "appointment_id": "a", "kind": "capture", "lines": lines, "at": DAY}
    with pytest.raises(WriteError) as refused:
        await stores.database["ledger"].insert_one(document)
    assert refused.value.code == 121


# refunds


async def test_a_refund_is_opened_once_and_its_note_is_sealed(stores: Repositories) -> None:
    refund, canary = a_refund(), new("canary")
    await stores.payments.open_refund(TENANT, refund, canary, DAY)
    await stores.payments.open_refund(TENANT, refund, "another note", DAY + minutes(5))
    assert await stores.payments.refund(TENANT, refund.id) == refund
    assert await stores.payments.refunds_of(TENANT, refund.appointment_id) == [(refund, canary)]
    document = await stores.database["refunds"].find_one({"_id": refund.id})
    assert canary not in str(document)
    assert await stores.payments.refund(TENANT, new("rfd")) is None


async def test_refunds_of_an_appointment_come_oldest_first(stores: Repositories) -> None:
    appointment = new("apt")
    refunds = [a_refund(appointment_id=appointment) for _ in range(3)]
    for refund, at in zip(refunds, (3, 1, 2), strict=True):
        await stores.payments.open_refund(TENANT, refund, None, DAY + minutes(at))
    listed = await stores.payments.refunds_of(TENANT, appointment)
    assert listed == [(refunds[1], None), (refunds[2], None), (refunds[0], None)]


async def test_a_refund_moves_forward_and_posts_each_transaction_once(stores: Repositories) -> None:
    refund = a_refund()
    await stores.payments.open_refund(TENANT, refund, None, DAY)
    transaction = refund_transaction(refund, DAY)
    gateway_id = new("rfnd")

    async def settle(state: RefundState, gateway: str | None = None, *, post: bool = True) -> RefundRecord:
        return await stores.payments.settle_refund(
            TENANT, refund.id, state, gateway, transaction if post else None, DAY + minutes(1)
        )

    assert (await settle(RefundState.UNKNOWN, post=False)).state is RefundState.UNKNOWN
    assert await ledger(stores, refund.appointment_id) == []
    named = refund.model_copy(update={"gateway_refund_id": gateway_id})
    assert await settle(RefundState.PENDING, gateway_id) == named
    assert await settle(RefundState.PENDING, new("rfnd")) == named, "the gateway's name is given once"
    processed = named.model_copy(update={"state": RefundState.PROCESSED})
    for _ in range(2):
        assert await settle(RefundState.PROCESSED, gateway_id) == processed
    assert [one["_id"] for one in await ledger(stores, refund.appointment_id)] == [transaction.id]
    assert await stores.payments.by_gateway_refund(TENANT, gateway_id) == processed
    assert await stores.payments.by_gateway_refund(TENANT, new("rfnd")) is None


async def test_a_word_that_comes_too_late_changes_and_posts_nothing(stores: Repositories) -> None:
    refund = a_refund()
    await stores.payments.open_refund(TENANT, refund, None, DAY)
    done = await stores.payments.settle_refund(TENANT, refund.id, RefundState.PROCESSED, None, None, DAY)
    failed = refund_transaction(refund, DAY, failed=True)
    for transaction in (failed, None):
        late = await stores.payments.settle_refund(TENANT, refund.id, RefundState.FAILED, None, transaction, DAY)
        assert late == done
    assert await ledger(stores, refund.appointment_id) == []


async def test_a_crash_between_ledger_and_state_is_repaired_by_the_retry(stores: Repositories) -> None:
    refund = a_refund()
    await stores.payments.open_refund(TENANT, refund, None, DAY)
    transaction = refund_transaction(refund, DAY)
    posted = {"_id": transaction.id, **transaction.model_dump(exclude={"id"})}
    await stores.database["ledger"].insert_one(posted)
    still_open = await stores.payments.open_refunds(SWEEP, DAY + minutes(1), "", 1000)
    assert refund.id in {one.id for one in still_open}
    settled = await stores.payments.settle_refund(TENANT, refund.id, RefundState.PROCESSED, None, transaction, DAY)
    assert settled.state is RefundState.PROCESSED
    assert len(await ledger(stores, refund.appointment_id)) == 1


async def test_settling_what_is_not_there_is_not_found(stores: Repositories) -> None:
    refund = a_refund()
    for transaction in (None, refund_transaction(refund, DAY)):
        with pytest.raises(VisitNowError):
            await stores.payments.settle_refund(TENANT, refund.id, RefundState.FAILED, None, transaction, DAY)
    assert await ledger(stores, refund.appointment_id) == []


async def test_the_sweep_finds_refunds_without_a_last_word(stores: Repositories) -> None:
    tenant = Tenant(new("ten"))
    refunds = sorted((a_refund(tenant_id=tenant.tenant_id) for _ in range(6)), key=lambda one: one.id)
    for refund in refunds:
        await stores.payments.open_refund(tenant, refund, None, DAY)
    for refund, state, at in (
        (refunds[0], RefundState.PROCESSED, DAY),
        (refunds[1], RefundState.FAILED, DAY),
        (refunds[2], RefundState.UNKNOWN, DAY),
        (refunds[3], RefundState.UNKNOWN, DAY + minutes(60)),
    ):
        await stores.payments.settle_refund(tenant, refund.id, state, None, None, at)
    first = await stores.payments.open_refunds(tenant, DAY + minutes(30), "", 2)
    rest = await stores.payments.open_refunds(tenant, DAY + minutes(30), first[-1].id, 2)
    assert [one.id for one in [*first, *rest]] == [refunds[2].id, refunds[4].id, refunds[5].id]


async def test_refunds_are_shown_to_who_may_see_the_appointment(stores: Repositories) -> None:
    command = a_command()
    await stores.appointments.insert(TENANT, a_step(command), None)
    refund = a_refund(
        appointment_id=command.appointment_id, subject_id=command.subject_id, reason=RefundReason.LATE_PAYMENT
    )
    await stores.payments.open_refund(TENANT, refund, None, DAY)
    scopes: list[tuple[Scope, int]] = [
        (TENANT, 1),
        (Clinics("ten_a", frozenset({"cli_a"})), 1),
        (OwnProvider("ten_a", "prv_a"), 1),
        (Subject(command.subject_id), 1),
        (Clinics("ten_a", frozenset({"cli_b"})), 0),
        (OwnProvider("ten_a", "prv_b"), 0),
        (OwnProvider("ten_b", "prv_a"), 0),
        (Subject("usr_other"), 0),
        (Tenant("ten_b"), 0),
    ]
    for scope, count in scopes:
        assert len(await stores.payments.refunds_of(scope, command.appointment_id)) == count


# the inbox


def an_event(**changes: object) -> WebhookEvent:
    fields: dict[str, object] = {
        "id": new("evt"),
        "type": "payment.captured",
        "payment_id": "pay_1",
        "order_id": "order_1",
        "raw_sha256": "00" * 32,
        "created_at": DAY,
    }
    return WebhookEvent.model_validate({**fields, **changes})


async def test_an_event_is_kept_once_and_waits_until_it_is_passed_on(stores: Repositories) -> None:
    one, other = an_event(), an_event(receipt="apt_1", refund_id="rfnd_1")
    assert await asyncio.gather(*(stores.inbox.store(one) for _ in range(5))) in [
        [number == winner for number in range(5)] for winner in range(5)
    ]
    assert await stores.inbox.store(other)
    waiting = await stores.inbox.waiting(soon(), 100)
    assert [event for event in waiting if event.id in {one.id, other.id}] == [one, other]
    assert await stores.inbox.waiting(past(), 100) == []
    for _ in range(2):
        await stores.inbox.passed_on(one.id)
    await stores.inbox.passed_on(new("evt"))
    waiting = await stores.inbox.waiting(soon(), 100)
    assert [event.id for event in waiting if event.id in {one.id, other.id}] == [other.id]
    assert not await stores.inbox.store(one), "a repetition does not wait again"
    document = await stores.database["webhook_inbox"].find_one({"_id": one.id})
    assert document is not None
    passed_on = document["passed_on_at"]
    assert isinstance(passed_on, datetime)
    assert abs(datetime.now(UTC) - passed_on) < timedelta(minutes=1)


async def test_the_inbox_is_emptied_oldest_first(stores: Repositories) -> None:
    for event in await stores.inbox.waiting(soon(), 1000):
        await stores.inbox.passed_on(event.id)
    events = [an_event() for _ in range(3)]
    for event in events:
        await stores.inbox.store(event)
    assert await stores.inbox.waiting(soon(), 2) == events[:2]
