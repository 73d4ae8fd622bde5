"""Who asks: roles, named permissions and the one table between them."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from models.base import Id, Model, UtcDatetime, ZoneName
from models.messaging import Channel

PLATFORM = "platform"
"""The tenant of patients and of the operators who run the installation."""


class Role(StrEnum):
    """What somebody is within one tenant."""

    PATIENT = "patient"
    DOCTOR = "doctor"
    STAFF = "staff"
    ADMIN = "admin"


class Permission(StrEnum):
    """What somebody may do; routes name permissions, never roles."""

    APPOINTMENT_PLACE = "appointment:place"
    APPOINTMENT_READ = "appointment:read"
    APPOINTMENT_PAY = "appointment:pay"
    APPOINTMENT_CANCEL = "appointment:cancel"
    APPOINTMENT_RESCHEDULE = "appointment:reschedule"
    APPOINTMENT_CHECK_IN = "appointment:check_in"
    APPOINTMENT_CONSULT = "appointment:consult"
    APPOINTMENT_WALK_IN = "appointment:walk_in"
    APPOINTMENT_OVERRIDE = "appointment:override"
    REFUND_READ = "refund:read"
    REFUND_CREATE = "refund:create"
    MESSAGE_RESEND = "message:resend"
    TEMPLATE_READ = "template:read"
    TEMPLATE_MANAGE = "template:manage"
    SETTINGS_MANAGE = "settings:manage"
    AVAILABILITY_READ = "availability:read"
    AVAILABILITY_PUBLISH = "availability:publish"
    APPLICATION_REVIEW = "application:review"
    APPLICATION_EDIT = "application:edit"
    OPERATIONS_READ = "operations:read"
    CODEC_USE = "codec:use"
    ACCOUNT_OWN = "account:own"
    PASSWORD_OWN = "password:own"  # noqa: S105  a permission, not a secret
    DEPENDANT_MANAGE = "dependant:manage"
    CONSENT_OWN = "consent:own"
    ACCESS_LOG_OWN = "access_log:own"
    DELETION_OWN = "deletion:own"
    SESSION_OWN = "session:own"
    LEGAL_HOLD_MANAGE = "legal_hold:manage"
    AUDIT_READ = "audit:read"
    DAY_READ = "day:read"
    RIGHTS_OWN = "rights:own"
    RIGHTS_ANSWER = "rights:answer"
    EXPORT_OWN = "export:own"
    EXPORT_TENANT = "export:tenant"
    REVIEW_WRITE = "review:write"
    REVIEW_MODERATE = "review:moderate"
    STAFF_READ = "staff:read"
    STAFF_MANAGE = "staff:manage"
    TASK_DO = "task:do"
    SUMMARY_WRITE = "summary:write"
    RECORD_READ = "record:read"
    DOCUMENT_ADD = "document:add"


_OWN = {
    Permission.APPOINTMENT_READ,
    Permission.APPOINTMENT_CANCEL,
    Permission.APPOINTMENT_RESCHEDULE,
    Permission.REFUND_READ,
    Permission.ACCOUNT_OWN,
    Permission.SESSION_OWN,
    Permission.RECORD_READ,
    Permission.EXPORT_OWN,
}

_EMPLOYED = {
    *_OWN,
    Permission.PASSWORD_OWN,
    Permission.APPOINTMENT_CHECK_IN,
    Permission.APPOINTMENT_CONSULT,
    Permission.AVAILABILITY_READ,
    Permission.AVAILABILITY_PUBLISH,
    Permission.DAY_READ,
}

_FRONT_DESK = {
    Permission.APPOINTMENT_WALK_IN,
    Permission.APPOINTMENT_OVERRIDE,
    Permission.MESSAGE_RESEND,
    Permission.TEMPLATE_READ,
    Permission.TASK_DO,
}

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.PATIENT: frozenset(
        {
            *_OWN,
            Permission.APPOINTMENT_PLACE,
            Permission.APPOINTMENT_PAY,
            Permission.DEPENDANT_MANAGE,
            Permission.CONSENT_OWN,
            Permission.REVIEW_WRITE,
            Permission.RIGHTS_OWN,
            Permission.ACCESS_LOG_OWN,
            Permission.DELETION_OWN,
            Permission.DOCUMENT_ADD,
        }
    ),
    Role.DOCTOR: frozenset({*_EMPLOYED, Permission.SUMMARY_WRITE, Permission.DOCUMENT_ADD}),
    Role.STAFF: frozenset(
        {*_EMPLOYED, *_FRONT_DESK, Permission.REFUND_CREATE, Permission.STAFF_READ, Permission.DOCUMENT_ADD}
    ),
    Role.ADMIN: frozenset(
        {
            *_EMPLOYED,
            *_FRONT_DESK,
            Permission.TEMPLATE_MANAGE,
            Permission.REFUND_CREATE,
            Permission.SETTINGS_MANAGE,
            Permission.RIGHTS_ANSWER,
            Permission.EXPORT_TENANT,
            Permission.STAFF_READ,
            Permission.STAFF_MANAGE,
            Permission.AUDIT_READ,
        }
    ),
}
"""Role → permissions, within the caller's own tenant."""

PLATFORM_ADMIN_PERMISSIONS = frozenset(
    {
        Permission.OPERATIONS_READ,
        Permission.CODEC_USE,
        Permission.ACCOUNT_OWN,
        Permission.SESSION_OWN,
        Permission.PASSWORD_OWN,
        Permission.LEGAL_HOLD_MANAGE,
        Permission.APPLICATION_REVIEW,
        Permission.REVIEW_MODERATE,
        Permission.RIGHTS_ANSWER,
        Permission.AUDIT_READ,
    }
)
"""What an admin of the platform may do; they read no patient's record by virtue of that.

`application:edit` is no role's: an applicant has no account yet, but a token for one application.
"""


LEAVING_PERMISSIONS = frozenset({Permission.DELETION_OWN, Permission.SESSION_OWN})
"""What somebody may still do who is to be forgotten: take it back, and sign out."""


class Principal(Model):
    """Who asks, as a verified access token says."""

    subject: str
    tenant_id: str
    roles: frozenset[Role]
    session_id: str
    provider_id: str | None = None
    clinic_ids: frozenset[str] = frozenset()
    leaving: bool = False
    """Whether the account is to be deleted; no token says so, it is looked up."""

    @property
    def permissions(self) -> frozenset[Permission]:
        """Everything any of the roles allows."""
        if self.leaving:
            return LEAVING_PERMISSIONS
        if self.tenant_id == PLATFORM and Role.ADMIN in self.roles:
            return PLATFORM_ADMIN_PERMISSIONS
        return frozenset().union(*(PERMISSIONS[role] for role in self.roles))

    @property
    def is_patient(self) -> bool:
        """Whether this is a patient's platform-wide account."""
        return Role.PATIENT in self.roles


class Account(Model):
    """Somebody who can sign in; name, phone and e-mail are None where they were never given or have been erased.

    Patients are known by their phone, everybody else by their e-mail; each belongs to one account on the platform.
    """

    id: Id
    tenant_id: Id
    roles: frozenset[Role]
    provider_id: Id | None = None
    clinic_ids: frozenset[Id] = frozenset()
    name: str | None = None
    phone: str | None = None
    email: str | None = None
    locale: str = "en"
    timezone: ZoneName = "Asia/Kolkata"
    preferred_channel: Channel | None = None
    """By which they would rather be written to; the others follow where it brings nothing."""
    removed_at: UtcDatetime | None = None
    """Since when nobody signs in with it any more."""

    @property
    def surest_address(self) -> tuple[Channel, str] | None:
        """Where word of their data goes, whatever else they prefer: the phone, else the mailbox; None without any."""
        if self.phone:
            return Channel.SMS, self.phone
        return (Channel.EMAIL, self.email) if self.email else None

    @property
    def is_patient(self) -> bool:
        """Whether this is a patient's platform-wide account."""
        return Role.PATIENT in self.roles

    def works_at(self, clinic_id: str) -> bool:
        """Whether this is one of a clinic's people; a tenant's admin is everywhere's."""
        return clinic_id in self.clinic_ids or Role.ADMIN in self.roles

    def principal(self, session_id: str) -> Principal:
        """Whoever speaks for this account in a session."""
        return Principal(
            subject=self.id,
            tenant_id=self.tenant_id,
            roles=self.roles,
            session_id=session_id,
            provider_id=self.provider_id,
            clinic_ids=self.clinic_ids,
        )


class Invitation(Model):
    """A place in a tenant that is offered to whoever reads that mailbox; good once, until it expires."""

    id: Id
    tenant_id: Id
    email: str
    role: Role
    clinic_ids: frozenset[Id] = frozenset()
    provider_id: Id | None = None
    expires_at: UtcDatetime


class Tenant(NamedTuple):
    """Scope: everything of one tenant."""

    tenant_id: str


class Clinics(NamedTuple):
    """Scope: what belongs to some clinics of one tenant (staff)."""

    tenant_id: str
    clinic_ids: frozenset[str]


class OwnProvider(NamedTuple):
    """Scope: what belongs to one doctor's profile (doctors)."""

    tenant_id: str
    provider_id: str


class Subject(NamedTuple):
    """Scope: what belongs to one patient, at whichever tenant."""

    subject_id: str


class Public(NamedTuple):
    """Scope: what anybody may read: published profiles and free times."""


class System(NamedTuple):
    """Scope: a process of ours that works across tenants, with the reason why."""

    reason: str


Scope = Tenant | Clinics | OwnProvider | Subject | Public | System
"""Whose documents a query may touch; every repository method takes one and puts it into its filter."""


def scope_of(principal: Principal) -> Scope:
    """The widest scope that somebody's roles give them on appointments."""
    if principal.is_patient:
        return Subject(principal.subject)
    if Role.ADMIN in principal.roles:
        return Tenant(principal.tenant_id)
    if Role.STAFF in principal.roles:
        return Clinics(principal.tenant_id, principal.clinic_ids)
    if Role.DOCTOR in principal.roles and principal.provider_id is not None:
        return OwnProvider(principal.tenant_id, principal.provider_id)
    return Clinics(principal.tenant_id, frozenset())
