"""Every repository of one database, opened and closed together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from adapters.mongo.absence import MongoOffers
from adapters.mongo.availability import MongoClaims, TimeChanged
from adapters.mongo.booking import MongoAppointments
from adapters.mongo.challenges import MongoChallenges
from adapters.mongo.client import Client, Database, answering, open_client
from adapters.mongo.compliance import WRITE_SECONDS, MongoAuditTrail
from adapters.mongo.consents import MongoConsents
from adapters.mongo.consultation import MongoConsultations
from adapters.mongo.day_tokens import MongoTokens
from adapters.mongo.deletions import MongoDeletions
from adapters.mongo.dependants import MongoDependants
from adapters.mongo.documents import MongoDocuments
from adapters.mongo.encryption import KeyUse, KeyWord, Vault
from adapters.mongo.erasure import MongoRemains
from adapters.mongo.exports import MongoExports
from adapters.mongo.follow_up import MongoFollowUps
from adapters.mongo.holdings import MongoHoldings
from adapters.mongo.holds import MongoLegalHolds
from adapters.mongo.identity import MongoUsers
from adapters.mongo.invites import MongoInvites
from adapters.mongo.leases import MongoLeases
from adapters.mongo.leaves import MongoLeaves
from adapters.mongo.messaging import MongoNotifications
from adapters.mongo.notices import MongoNotices
from adapters.mongo.onboarding import MongoApplications
from adapters.mongo.payments import MongoPayments, MongoWebhookInbox
from adapters.mongo.practices import MongoPractices
from adapters.mongo.providers import MongoDirectory
from adapters.mongo.publishing import MongoPublications, WasPublished, nobody_asked
from adapters.mongo.reminders import MongoReminders
from adapters.mongo.retention import MongoOutdated
from adapters.mongo.reviews import MongoReviews
from adapters.mongo.rights import MongoRightsRequests
from adapters.mongo.seals import MongoAuditSeals
from adapters.mongo.search import MongoSearch
from adapters.mongo.sessions import MongoSessions
from adapters.mongo.staff_tasks import MongoStaffTasks
from adapters.mongo.stops import MongoStops
from adapters.mongo.subject_visits import MongoSubjectVisits
from adapters.mongo.templates import MongoTemplates
from adapters.mongo.tenancy import MongoTenancy
from adapters.mongo.tries import MongoTries
from adapters.mongo.upkeep import MongoUpkeep
from adapters.mongo.uploads import MongoUploads
from adapters.notices import FileNotices
from models.compliance import AuditAction, audit_of_key
from models.data_classes import DataClass


@dataclass(frozen=True)
class MongoAddresses:
    """Where the data, the audit and the key vault are, each with an account of its own.

    `kms_url` names the key-encryption key, as `adapters.mongo.encryption.key_encryption_key` reads it; `index_key` is
    what addresses are looked up under.
    """

    url: str
    database: str
    audit_url: str
    vault_url: str
    vault_database: str
    kms_url: str
    index_key: bytes = field(repr=False)


@dataclass(frozen=True)
class Repositories:
    """The stores behind `models.ports`; `database` is the application's own view of it."""

    database: Database
    claims: MongoClaims
    appointments: MongoAppointments
    reminders: MongoReminders
    follow_ups: MongoFollowUps
    staff_tasks: MongoStaffTasks
    directory: MongoDirectory
    search: MongoSearch
    publications: MongoPublications
    leaves: MongoLeaves
    payments: MongoPayments
    inbox: MongoWebhookInbox
    notifications: MongoNotifications
    notices: MongoNotices
    stops: MongoStops
    templates: MongoTemplates
    audit: MongoAuditTrail
    seals: MongoAuditSeals
    users: MongoUsers
    sessions: MongoSessions
    challenges: MongoChallenges
    tries: MongoTries
    applications: MongoApplications
    practices: MongoPractices
    invites: MongoInvites
    dependants: MongoDependants
    consents: MongoConsents
    tokens: MongoTokens
    consultations: MongoConsultations
    reviews: MongoReviews
    documents: MongoDocuments
    uploads: MongoUploads
    rights: MongoRightsRequests
    exports: MongoExports
    holdings: MongoHoldings
    deletions: MongoDeletions
    holds: MongoLegalHolds
    subject_visits: MongoSubjectVisits
    offers: MongoOffers
    leases: MongoLeases
    tenancy: MongoTenancy
    upkeep: MongoUpkeep
    remains: MongoRemains
    outdated: MongoOutdated
    vault: Vault
    clients: tuple[Client, ...]

    @classmethod
    def connect(
        cls,
        addresses: MongoAddresses,
        *,
        on_time_changed: TimeChanged,
        on_published: WasPublished = nobody_asked,
        appname: str = "visitnow",
    ) -> Self:
        """Build them all; connections are made with the first operations.

        `on_time_changed` is called with a practitioner's id after their claims have changed, `on_published` with a
        provider's and its practitioner's after services, hours or leave have. Raises ValueError where the
        key-encryption key cannot be had.
        """
        client = open_client(addresses.url, appname)
        auditor = open_client(addresses.audit_url, f"{appname}-audit")
        writer = open_client(addresses.audit_url, f"{appname}-audit-writer", within=WRITE_SECONDS)
        audit = MongoAuditTrail(writer[addresses.database])
        vault = Vault(addresses.vault_url, addresses.vault_database, addresses.kms_url, _noting(audit))
        database = client[addresses.database]
        search = MongoSearch(database)
        directory = MongoDirectory(database, search)
        deletions = MongoDeletions(database, vault)
        return cls(
            database=database,
            claims=MongoClaims(database, vault, on_time_changed),
            appointments=MongoAppointments(database, vault),
            reminders=MongoReminders(database),
            follow_ups=MongoFollowUps(database),
            staff_tasks=MongoStaffTasks(database),
            directory=directory,
            search=search,
            publications=MongoPublications(database, search, on_published),
            leaves=MongoLeaves(database, vault, search, on_published),
            payments=MongoPayments(database, vault),
            inbox=MongoWebhookInbox(database),
            notifications=MongoNotifications(database, vault),
            audit=audit,
            notices=MongoNotices(database),
            stops=MongoStops(database, addresses.index_key),
            templates=MongoTemplates(database),
            seals=MongoAuditSeals(auditor[addresses.database]),
            users=MongoUsers(database, vault, addresses.index_key),
            sessions=MongoSessions(database),
            challenges=MongoChallenges(database, vault),
            tries=MongoTries(database),
            applications=MongoApplications(database, vault),
            practices=MongoPractices(database, directory, search, on_published),
            invites=MongoInvites(database, vault),
            dependants=MongoDependants(database, vault),
            consents=MongoConsents(database, FileNotices().version, deletions.standing),
            tokens=MongoTokens(database),
            consultations=MongoConsultations(database, vault),
            rights=MongoRightsRequests(database, vault),
            exports=MongoExports(database, vault),
            holdings=MongoHoldings(database, vault),
            deletions=deletions,
            holds=MongoLegalHolds(database),
            subject_visits=MongoSubjectVisits(database),
            reviews=MongoReviews(database, vault, on_published),
            documents=MongoDocuments(database, vault),
            uploads=MongoUploads(database, vault),
            offers=MongoOffers(database),
            leases=MongoLeases(database),
            tenancy=MongoTenancy(database),
            upkeep=MongoUpkeep(database, vault),
            remains=MongoRemains(database, vault, addresses.index_key),
            outdated=MongoOutdated(database),
            vault=vault,
            clients=(client, auditor, writer),
        )

    @answering
    async def ping(self) -> None:
        """Return when the database answers. Raises `UnavailableError`."""
        await self.database.command("ping")

    async def close(self) -> None:
        """Let go of all connections."""
        for client in self.clients:
            client.close()
        await self.vault.close()


def _noting(audit: MongoAuditTrail) -> KeyWord:
    actions = {KeyUse.MADE: AuditAction.KEY_MADE, KeyUse.DESTROYED: AuditAction.KEY_DESTROYED}

    async def note(use: KeyUse, subject_ids: Sequence[str], data_class: DataClass) -> None:
        now = datetime.now(UTC)
        await audit.append([audit_of_key(actions[use], one, data_class, now) for one in subject_ids])

    return note
