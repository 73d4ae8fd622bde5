"""Somebody of whom everything is held that can be, and a place where exports are made of it."""

from __future__ import annotations

import hashlib
import io
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zipfile import ZipFile

from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from activities.exports import ExportActivities
from adapters.export.fhir import Sources
from adapters.export.maker import PackedExports, plan
from adapters.export.objects import ObjectExports
from adapters.files import ObjectFiles
from adapters.mongo.repositories import Repositories
from models.booking import ActorKind, Appointment, AppointmentState
from models.consents import Answer, Purpose
from models.dependants import Dependant
from models.documents import Contents, Document, DocumentKind
from models.due_clock import MARKS
from models.exports import KEY_BYTES, PORTION, Export, ExportKind, ExportRef, ExportState, owner_of
from models.exports_ports import Made
from models.files import in_one_piece
from models.identity import PLATFORM, Account, Role, Subject, System, Tenant
from models.ids import export_workflow_id, random_id
from models.messaging import Channel, Message, Template
from models.payments import Capture, RefundReason, RefundRecord, capture_transaction
from models.reviews import Opinion, review_of
from models.rights import RightsKind, RightsOutcome, RightsRequest
from tests.adapters.mongo.builders import a_notice, an_entry
from tests.adapters.mongo.people import a_session
from tests.api.consultations import a_summary, a_visit
from tests.rights.support import Mail
from tests.stack import eventually
from workers.runner import workflow_runner
from workflows.exports import ExportWorkflow
from workflows.policies import BULK_QUEUE, TASK_TIMEOUT

TEST: Final = System("tests of exports")
OFFICERS: Final = "grievances@visitnow.example"
Json = dict[str, Any]


def moment() -> datetime:
    """This instant, as precise as a database keeps it."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


@dataclass(frozen=True)
class Somebody:
    """A patient, words that occur nowhere else, and the bytes of their document."""

    account: Account
    visit: Appointment
    canaries: tuple[str, ...]
    document: Document
    content: bytes


class Exporter:
    """Makes exports; a worker of its own where `at_work`."""

    def __init__(self, stores: Repositories, client: Client, storage_url: str | None) -> None:
        self.stores = stores
        self.client = client
        self.files = ObjectFiles(storage_url)
        self.objects = ObjectExports(storage_url)
        visits = Sources(stores.appointments, stores.consultations, stores.documents, stores.directory, stores.users)
        self._plan = plan(stores.holdings, self.files, visits, stores.deletions)
        self.maker = self.maker_with(portion=PORTION)
        self.mail = Mail()

    def maker_with(self, *, portion: int) -> PackedExports:
        """One that notes how far it is after about so many bytes."""
        return PackedExports(self.stores.exports, self.objects, self._plan, portion)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """A worker in this process."""
        steps = ExportActivities(
            self.stores.exports,
            self.maker,
            self.stores.deletions,
            self.stores.users,
            self.mail,
            self.stores.audit,
            public_url="https://visitnow.example",
            officers=OFFICERS,
        )
        async with Worker(
            self.client,
            task_queue=BULK_QUEUE,
            workflows=[ExportWorkflow],
            activities=[steps.collect, steps.reach, steps.tell, steps.clear],
            workflow_runner=workflow_runner(),
        ):
            yield

    async def asked(
        self, about: str, kind: ExportKind = ExportKind.SUBJECT, *, by: str | None = None, **changes: object
    ) -> Export:
        """An export that was asked for."""
        now = moment()
        wanted = Export(
            id=random_id("exp"),
            kind=kind,
            about=about,
            tenant_id=owner_of(kind, about),
            subject_id=by or about,
            requested_at=now,
            due_at=now + timedelta(hours=72),
            lifetime_seconds=3600,
            key=secrets.token_bytes(KEY_BYTES),
        ).model_copy(update=changes)
        return await self.stores.exports.begin(TEST, wanted)

    async def begun(self, export: Export) -> WorkflowHandle[ExportWorkflow, ExportState]:
        """Its workflow, started."""
        return await self.client.start_workflow(
            ExportWorkflow.run,
            ExportRef.of(export),
            id=export_workflow_id(export.id),
            task_queue=BULK_QUEUE,
            task_timeout=TASK_TIMEOUT,
        )

    async def find(self, export: Export) -> Export:
        """As it stands."""
        found = await self.stores.exports.find(TEST, export.id)
        assert found is not None
        return found

    async def made(self, export: Export) -> tuple[Export, list[Made]]:
        """Made at one go, without anybody's clock."""
        told = [one async for one in self.maker.make(export.scope, export)]
        return await self.find(export), told

    async def file(self, export: Export) -> bytes:
        """The file in clear."""
        return b"".join([piece async for piece in self.objects.read(export, 0, export.size)])

    async def opened(self, export: Export) -> Opened:
        """The file, made and taken apart."""
        made, _ = await self.made(export)
        return Opened.of(await self.file(made))


@dataclass(frozen=True)
class Opened:
    """What stands in an export's file."""

    names: tuple[str, ...]
    contents: dict[str, bytes]

    @classmethod
    def of(cls, file: bytes) -> Opened:
        """Taken apart; fails where the archive is not sound."""
        with ZipFile(io.BytesIO(file)) as archive:
            assert archive.testzip() is None
            names = tuple(archive.namelist())
            return cls(names=names, contents={name: archive.read(name) for name in names})

    def json(self, name: str) -> Json:
        """One file as JSON."""
        found: Json = json.loads(self.contents[name])
        return found

    def documents(self, collection: str) -> list[Json]:
        """What a collection holds."""
        found: list[Json] = self.json(f"data/{collection}.json")["documents"]
        return found


async def somebody(exporter: Exporter, *, content: bytes | None = None) -> Somebody:
    """A patient with something in every collection that an export gives."""
    stores, mark = exporter.stores, secrets.token_hex(6)
    account = Account(
        id=random_id("usr"),
        tenant_id=PLATFORM,
        roles=frozenset({Role.PATIENT}),
        name=f"Zebunnisa Qv{mark}",
        phone=f"+9198{int(mark, 16) % 10**8:08d}",
    )
    await stores.users.put(TEST, account)
    visit = await a_visit(
        stores,
        AppointmentState.COMPLETED,
        subject=account.id,
        name=f"Child Qx{mark}",
        date_of_birth=date(2019, 5, 4),
        relation="daughter",
    )
    own = Subject(account.id)
    await stores.dependants.put(
        own,
        Dependant(
            id=random_id("dep"),
            subject_id=account.id,
            name=f"Child Qx{mark}",
            date_of_birth=date(2019, 5, 4),
            relation="daughter",
        ),
    )
    await _what_they_said(stores, account, visit, mark)
    await _what_was_paid(stores, account, visit, mark)
    await stores.sessions.add(own, a_session(account, agent=f"Browser Qb{mark}"))
    await stores.notices.open(
        TEST, a_notice(tenant_id=visit.tenant_id, appointment_id=visit.id, recipient_id=account.id), moment()
    )
    await stores.audit.append([an_entry(tenant_id=visit.tenant_id, target=visit.id, subject_id=account.id)])
    document, stored = await a_file(exporter, visit, content or b"%PDF-1.4 " + secrets.token_bytes(3000), f"Qf{mark}")
    words = ("Qv", "Qx", "Qb", "Qn", "Qc", "Qm", "Qr", "Qg", "Qf")
    return Somebody(account, visit, (*(f"{one}{mark}" for one in words), account.phone or ""), document, stored)


async def _what_they_said(stores: Repositories, account: Account, visit: Appointment, mark: str) -> None:
    own, now = Subject(account.id), moment()
    answer = Answer(
        subject_id=account.id,
        about=account.id,
        purpose=Purpose.WHATSAPP,
        granted=True,
        notice_version=1,
        language="en",
        notice_sha256="0" * 64,
    )
    await stores.consents.record(own, answer)
    wish = RightsRequest(
        id=random_id("rrq"),
        kind=RightsKind.GRIEVANCE,
        tenant_id=PLATFORM,
        subject_id=account.id,
        text=f"Grievance Qg{mark}",
        received_at=now,
        due_at=now + timedelta(days=90),
    )
    await stores.rights.keep(own, wish)
    await stores.rights.answer(TEST, wish.id, RightsOutcome.GRANTED, "We have seen to it.", now)
    await stores.consultations.add(
        Tenant(visit.tenant_id), a_summary(visit, notes=f"Notes Qn{mark}", diagnosis="Sprained ankle")
    )
    await stores.reviews.put(own, review_of(visit, Opinion(rating=5, comment=f"Comment Qc{mark}"), now))
    for template, params in ((Template.VISIT_SUMMARY, {"name": f"Qm{mark}"}), (Template.OTP, {"code": f"Qo{mark}"})):
        await stores.notifications.keep(
            own,
            Message(
                id=random_id("msg"),
                tenant_id=PLATFORM,
                subject_id=account.id,
                channel=Channel.SMS,
                to=account.phone or "",
                template=template,
                params=params,
                expires_at=now + timedelta(days=1),
            ),
            now,
        )


async def _what_was_paid(stores: Repositories, account: Account, visit: Appointment, mark: str) -> None:
    now = moment()
    capture = Capture(
        tenant_id=visit.tenant_id,
        appointment_id=visit.id,
        subject_id=account.id,
        order_id=random_id("order"),
        payment_id=random_id("pay"),
        amount=50_000,
    )
    await stores.payments.record_capture(TEST, capture, capture_transaction(capture, now))
    refund = RefundRecord(
        id=random_id("rfd"),
        tenant_id=visit.tenant_id,
        appointment_id=visit.id,
        subject_id=account.id,
        payment_id=capture.payment_id,
        amount=100,
        reason=RefundReason.GOODWILL,
    )
    await stores.payments.open_refund(TEST, refund, f"Refund Qr{mark}", now)


async def a_file(exporter: Exporter, visit: Appointment, content: bytes, name: str) -> tuple[Document, bytes]:
    """A document of a visit, stored; and its bytes."""
    document = Document(
        **visit.model_dump(include={"tenant_id", "clinic_id", "provider_id", "subject_id"}),
        id=random_id("doc"),
        appointment_id=visit.id,
        kind=DocumentKind.LAB_REPORT,
        media_type="application/pdf",
        size=len(content),
        scanned_by="tests",
        by=ActorKind.PATIENT,
        author_id=visit.subject_id,
        at=moment(),
        contents=Contents(
            name=f"{name}.pdf",
            sha256=hashlib.sha256(content).hexdigest(),
            size=len(content),
            key=secrets.token_bytes(KEY_BYTES),
        ),
    )
    assert document.contents is not None
    await exporter.stores.documents.begin(TEST, document)
    await exporter.files.write(document.id, document.contents, in_one_piece(content))
    assert await exporter.stores.documents.keep(TEST, document.id, random_id("dig"))
    return document, content


async def kept_and_removed(exporter: Exporter) -> Export:
    """Made, announced, and removed when its time was over."""
    export = await exporter.asked((await somebody(exporter)).account.id, lifetime_seconds=1)
    async with exporter.at_work():
        await (await exporter.begun(export)).result()
    return export


async def late(exporter: Exporter) -> Export:
    """Nobody could make it before its time was used up."""
    now = moment()
    export = await exporter.asked(
        (await somebody(exporter)).account.id, due_at=now + timedelta(seconds=2), lifetime_seconds=1
    )
    broken = Exporter(exporter.stores, exporter.client, None)
    async with broken.at_work():
        handle = await exporter.begun(export)
        await eventually(lambda: exporter.find(export), lambda found: found.reached == MARKS[-1])
    async with exporter.at_work():
        await handle.result()
    return export


async def stopped(exporter: Exporter) -> Export:
    """Whoever it is about is forgotten while it may be fetched."""
    person = await somebody(exporter)
    export = await exporter.asked(person.account.id)
    async with exporter.at_work():
        handle = await exporter.begun(export)
        await eventually(lambda: exporter.find(export), lambda found: found.state is ExportState.READY)
        await exporter.stores.exports.stop(TEST, person.account.id, moment())
        await handle.signal(ExportWorkflow.stop)
        await handle.result()
    return export


EXPORTS: Final[dict[str, Callable[[Exporter], Awaitable[Export]]]] = {
    "exported": kept_and_removed,
    "exported_late": late,
    "export_stopped": stopped,
}
"""The ways that an export can go."""
