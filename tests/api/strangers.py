"""One tenant's things, and everybody who is nobody to them: of other tenants, of other clinics, next door."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from cli.accounts import ACCOUNTS
from cli.seed.arogya import ANANYA_RAO, KOREGAON_PARK, TENANT
from models.booking import Appointment
from models.dependants import Dependant
from models.documents import Upload, UploadSecrets
from models.exports import Export, ExportKind
from models.identity import PLATFORM, Account, Role
from models.ids import staff_task_id
from models.messaging import Template
from models.notices import Notice
from models.publishing import Leave
from models.sessions import Session
from models.staff_tasks import StaffTask, TaskKind

CANARY: Final = "canary-patient-words"
"""Words of the tenant's that nobody else may ever read."""

DOCTOR_NEXT_DOOR = Account(
    id="usr_next_door", tenant_id=TENANT.id, roles=frozenset({Role.DOCTOR}), name="A", email="a@a.example",
    provider_id="prv_somebody_else",
)  # fmt: skip
STAFF_OF_ANOTHER_CLINIC = Account(
    id="usr_other_clinic", tenant_id=TENANT.id, roles=frozenset({Role.STAFF}), name="B", email="b@b.example",
    clinic_ids=frozenset({KOREGAON_PARK.id}),
)  # fmt: skip
STAFF_OF_NO_CLINIC = STAFF_OF_ANOTHER_CLINIC.model_copy(
    update={"id": "usr_no_clinic", "clinic_ids": frozenset(), "email": "c@b.example"}
)


def _elsewhere(name: str) -> Account:
    """Somebody of another tenant who claims all that an account of the seed has, but for who they are."""
    who = {"id": f"usr_{name}_elsewhere", "name": "C", "email": f"{name}@elsewhere.example"}
    return ACCOUNTS[name].model_copy(update={**who, "tenant_id": "tnt_sanjeevani"})


OTHER_TENANT_ADMIN = _elsewhere("tenant_admin")
SAME_CLINIC_OTHER_TENANT = _elsewhere("staff")
SAME_PROVIDER_OTHER_TENANT = _elsewhere("doctor")

STRANGERS: Final[dict[str, Account]] = {
    "another patient": ACCOUNTS["other_patient"],
    "another doctor of the clinic": DOCTOR_NEXT_DOOR,
    "staff of another clinic of the tenant": STAFF_OF_ANOTHER_CLINIC,
    "staff of no clinic": STAFF_OF_NO_CLINIC,
    "staff of another tenant": ACCOUNTS["other_tenant_staff"],
    "admin of another tenant": OTHER_TENANT_ADMIN,
    "staff of another tenant who claims the clinic": SAME_CLINIC_OTHER_TENANT,
    "doctor of another tenant who claims the profile": SAME_PROVIDER_OTHER_TENANT,
}
"""Everybody who has a role for appointments, and none for this one."""

LEAVE: Final = Leave(
    id="lve_of_the_doctor",
    **ANANYA_RAO.provider.model_dump(include={"tenant_id", "clinic_id", "practitioner_id"}),
    provider_id=ANANYA_RAO.provider.id,
    start=datetime(2031, 2, 3, tzinfo=UTC),
    end=datetime(2031, 2, 4, tzinfo=UTC),
    body_hash="0" * 64,
    created_at=datetime(2031, 1, 1, tzinfo=UTC),
)

SESSION: Final = Session(
    id="ses_of_the_patient",
    tenant_id=PLATFORM,
    subject_id=ACCOUNTS["patient"].id,
    token_hash="0" * 64,
    rotated_at=datetime(2031, 1, 1, tzinfo=UTC),
    signed_in_at=datetime(2031, 1, 1, tzinfo=UTC),
    expires_at=datetime(2031, 2, 1, tzinfo=UTC),
)

DEPENDANT: Final = Dependant(
    id="dep_of_the_patient",
    subject_id=ACCOUNTS["patient"].id,
    name=CANARY,
    date_of_birth=datetime(2001, 1, 1, tzinfo=UTC).date(),
    relation="son",
)

EXPORT: Final = Export(
    id="exp_of_the_patient",
    kind=ExportKind.SUBJECT,
    about=ACCOUNTS["patient"].id,
    tenant_id=PLATFORM,
    subject_id=ACCOUNTS["patient"].id,
    requested_at=datetime(2031, 1, 1, tzinfo=UTC),
    due_at=datetime(2031, 1, 4, tzinfo=UTC),
    lifetime_seconds=60,
    key=b"k" * 32,
)


def a_word(appointment: Appointment) -> Notice:
    """What a patient was told."""
    return Notice(
        tenant_id=appointment.tenant_id,
        appointment_id=appointment.id,
        recipient_id=appointment.subject_id,
        template=Template.APPOINTMENT_CANCELLED,
        occurrence="evt_1",
        expires_at=datetime(2031, 1, 8, tzinfo=UTC),
    )


DOCUMENT: Final = "doc_of_the_patient"

UPLOAD: Final = Upload(
    id="upl_of_the_patient",
    tenant_id=PLATFORM,
    subject_id=ACCOUNTS["patient"].id,
    length=100,
    expires_at=datetime(2031, 1, 1, tzinfo=UTC),
    secrets=UploadSecrets(name=CANARY, key=b"k" * 32),
)


def a_task(about: Appointment) -> StaffTask:
    """Somebody should get in touch."""
    same = about.model_dump(include={"tenant_id", "clinic_id", "provider_id", "subject_id"})
    task_id, at = staff_task_id(about.id, TaskKind.LOW_RATING), datetime(2031, 1, 8, tzinfo=UTC)
    kind = TaskKind.LOW_RATING
    return StaffTask(id=task_id, appointment_id=about.id, kind=kind, created_at=at, updated_at=at, **same)
