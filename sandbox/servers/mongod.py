"""MongoDB as a replica set of one member with access control on, and the accounts that the product uses."""

import base64
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote, urlsplit, urlunsplit

from pymongo import MongoClient
from pymongo.errors import ConnectionFailure, OperationFailure

from sandbox.servers.processes import HOST, Process, free_port, wait_until

Document: TypeAlias = dict[str, object]

_HISTORY_SECONDS = 60
_REPLICA_SET = "rs0"
_ROLE_EXISTS = 51002
_STEP_SECONDS = 10

# The grants below name collections but no database: each installation and each test picks its database's name.
# An entry of these can be added and read; only the owner of the server could change or remove one.
APPEND_ONLY_COLLECTIONS = ("audit", "audit_seals")
# Lines of these are added and, when the law's time is over, removed; nobody rewrites one.
LEDGER_COLLECTIONS = ("consents",)
VAULT_COLLECTIONS = ("__keyVault",)
APPLICATION_COLLECTIONS = (
    "absence_offers",
    "applications",
    "appointments",
    "availability",
    "clinics",
    "day_tokens",
    "consultations",
    "deletions",
    "dependants",
    "documents",
    "domains",
    "exports",
    "invites",
    "leaves",
    "ledger",
    "legal_holds",
    "message_stops",
    "message_templates",
    "notices",
    "notifications",
    "otp_challenges",
    "outbound_deliveries",
    "outbound_hooks",
    "payments",
    "practitioners",
    "provider_days",
    "providers",
    "refunds",
    "relay_leases",
    "reviews",
    "rights_requests",
    "rollups",
    "services",
    "sessions",
    "settings_versions",
    "sign_in_tries",
    "slots",
    "staff_tasks",
    "tenants",
    "uploads",
    "users",
    "waitlist",
    "webhook_inbox",
)

_READ = ("find", "listIndexes", "collStats")
_WRITE = (*_READ, "insert", "update", "remove", "changeStream")


def _on_collections(names: Iterable[str], actions: Iterable[str]) -> list[Document]:
    return [{"resource": {"db": "", "collection": name}, "actions": list(actions)} for name in names]


_ROLES: dict[str, list[Document]] = {
    "application": [
        *_on_collections(APPLICATION_COLLECTIONS, _WRITE),
        *_on_collections(LEDGER_COLLECTIONS, (*_READ, "insert", "remove")),
        *_on_collections(APPEND_ONLY_COLLECTIONS, _READ),
        {"resource": {"db": "", "collection": ""}, "actions": ["listCollections"]},
    ],
    "audit": _on_collections(APPEND_ONLY_COLLECTIONS, ("insert", "find")),
    "vault": [
        *_on_collections(VAULT_COLLECTIONS, (*_WRITE, "createIndex")),
        {"resource": {"db": "", "collection": ""}, "actions": ["listCollections"]},
    ],
    # Reads whatever there is, also what is added later, and changes nothing.
    "reader": [{"resource": {"db": "", "collection": ""}, "actions": ["find", "listCollections"]}],
}
_OWNER_ROLES = ("readWriteAnyDatabase", "dbAdminAnyDatabase")


@dataclass(frozen=True)
class MongoAccounts:
    """URLs of one server, each with an account: `admin` may do everything, the others only their own work."""

    admin: str
    owner: str
    application: str
    audit: str
    vault: str
    reader: str


def in_database(url: str, name: str) -> str:
    """Return `url` with the database `name` as its default."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _with_account(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    options = [item for item in parts.query.split("&") if item and not item.startswith("authSource=")]
    host = parts.netloc.rpartition("@")[2]
    query = "&".join([*options, "authSource=admin"])
    return urlunsplit((parts.scheme, f"{user}:{quote(password)}@{host}", "/", query, ""))


def _client(url: str) -> MongoClient[Document]:
    return MongoClient(url, serverSelectionTimeoutMS=_STEP_SECONDS * 1000, timeoutMS=_STEP_SECONDS * 1000)


def create_accounts(admin_url: str) -> MongoAccounts:
    """Create the product's accounts, with fresh names and passwords, on the server of `admin_url`.

    `application` reads and writes the product's collections but only reads the audit; `audit` adds to and reads
    the audit; `vault` keeps the data keys; `reader` reads all of it and writes nothing; `owner` makes collections and
    indexes and drops databases.
    """
    suffix = secrets.token_hex(4)
    urls = {}
    with _client(admin_url) as client:
        for role, privileges in _ROLES.items():
            try:
                client.admin.command("createRole", role, privileges=privileges, roles=[])
            except OperationFailure as error:
                if error.code != _ROLE_EXISTS:
                    raise
                client.admin.command("updateRole", role, privileges=privileges, roles=[])
        for account, roles in (("owner", _OWNER_ROLES), *((role, (role,)) for role in _ROLES)):
            user, password = f"{account}-{suffix}", secrets.token_urlsafe(24)
            client.admin.command("createUser", user, pwd=password, roles=list(roles))
            urls[account] = _with_account(admin_url, user, password)
    return MongoAccounts(admin=admin_url, **urls)


def drop_accounts(accounts: MongoAccounts) -> None:
    """Remove the accounts that `create_accounts` made, from a server that runs on."""
    with _client(accounts.admin) as client:
        for url in (accounts.owner, accounts.application, accounts.audit, accounts.vault, accounts.reader):
            client.admin.command("dropUser", urlsplit(url).username)


class Mongod:
    """One `mongod` with its data in a folder; stops, dies and comes back on the same port with the same data."""

    def __init__(self, program: Path, directory: Path) -> None:
        directory.mkdir()
        port = free_port()
        self._address = f"{HOST}:{port}"
        self._admin_password = secrets.token_urlsafe(24)
        key_file = directory / "key"
        key_file.write_bytes(base64.b64encode(secrets.token_bytes(96)))
        key_file.chmod(0o400)
        (directory / "data").mkdir()
        command: list[str | Path] = [program, "--dbpath", directory / "data", "--port", str(port), "--bind_ip", HOST]
        command += ["--replSet", _REPLICA_SET, "--keyFile", key_file, "--nounixsocket", "--oplogSize", "256"]
        command += ["--wiredTigerCacheSizeGB", "0.25", "--setParameter", "diagnosticDataCollectionEnabled=false"]
        # The files of dropped collections stay open for so long: with five minutes, tests run out of file descriptors.
        command += ["--setParameter", f"minSnapshotHistoryWindowInSeconds={_HISTORY_SECONDS}"]
        self.process = Process("mongod", command, log=directory / "mongod.log")

    @property
    def admin_url(self) -> str:
        """The URL of the account that may do everything."""
        account = f"admin:{quote(self._admin_password)}"
        return f"mongodb://{account}@{self._address}/admin?replicaSet={_REPLICA_SET}&authSource=admin"

    def create(self) -> MongoAccounts:
        """Start for the first time: make the replica set, the administrator and the product's accounts."""
        self.process.start()
        wait_until(self._answers, self.process)
        # By clients that are thrown away: a connection older than the replica set never learns to use sessions.
        with self._anonymous() as client:
            member = {"_id": 0, "host": self._address}
            client.admin.command("replSetInitiate", {"_id": _REPLICA_SET, "members": [member]})
        wait_until(self._is_primary, self.process)
        with self._anonymous() as client:  # allowed once, from this machine, while there is no user
            client.admin.command("createUser", "admin", pwd=self._admin_password, roles=["root"])
        return create_accounts(self.admin_url)

    def start(self) -> None:
        """Start again after `process.stop()` or `process.kill()`, and return once it takes writes."""
        self.process.start()
        wait_until(self._is_primary, self.process)

    def _anonymous(self) -> MongoClient[Document]:
        return MongoClient(f"mongodb://{self._address}/?directConnection=true", serverSelectionTimeoutMS=500)

    def _answers(self) -> bool:
        try:
            with self._anonymous() as client:
                client.admin.command("ping")
        except ConnectionFailure:
            return False
        return True

    def _is_primary(self) -> bool:
        try:
            with self._anonymous() as client:
                return bool(client.admin.command("hello")["isWritablePrimary"])
        except ConnectionFailure:
            return False
