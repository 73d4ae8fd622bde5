"""What `visitnow doctor` looks at, each with what would help."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from adapters.connections import connect_temporal, mongo_addresses
from adapters.mongo.checkup import MongoCheckup
from adapters.mongo.encryption import key_encryption_keys
from adapters.redis.client import connect as connect_redis
from adapters.redis.client import unavailable
from adapters.settings import Settings, production_problems
from adapters.storage import try_out
from adapters.temporal.checkup import idle_queues, schedule_problems, search_attribute_problems
from cli.accounts import everybody
from cli.backup_places import places
from models.backups import BackupKind
from models.errors import UnavailableError
from workers.relay import LEASE
from workers.schedules import schedules
from workflows.policies import BOOKING_QUEUE, BULK_QUEUE, GATEWAY_QUEUE, NOTIFY_QUEUE

WORK: Final = (
    *((queue, kind) for queue in (BOOKING_QUEUE, NOTIFY_QUEUE, BULK_QUEUE) for kind in ("workflows", "activities")),
    (GATEWAY_QUEUE, "activities"),
)
"""What somebody must be at work on; the gateway's workers run no workflows."""

SECONDS: Final = 15.0
"""For one check: whoever answers later than this is away."""

MOST_SKEW: Final = 2.0
"""Tokens count from a second ago, and a hold's end is judged by the database's clock."""


OLDEST_BACKUP: Final = timedelta(hours=26)
"""A nightly one and some delay; whoever can lose less makes them more often."""


OLDEST_MARK: Final = timedelta(hours=2)
"""A run that has sealed everything says so every half hour."""


class Finding(NamedTuple):
    """What was looked at; `problem` is None where it is well, else `remedy` says what to do."""

    what: str
    problem: str | None = None
    remedy: str = ""


class Installation(NamedTuple):
    """What is looked over."""

    settings: Settings
    mongo: MongoCheckup


Check = Callable[[Installation], Awaitable[Sequence[Finding]]]


async def examine(settings: Settings, within: float = SECONDS) -> list[Finding]:
    """Every finding, in the order of the checks; one that fails or takes longer than `within` seconds is one, too."""
    mongo = MongoCheckup(mongo_addresses(settings))
    try:
        installation = Installation(settings, mongo)
        found = await asyncio.gather(*(_tried(name, check, installation, within) for name, check in CHECKS.items()))
    finally:
        mongo.close()
    return [one for several in found for one in several]


async def _tried(name: str, check: Check, installation: Installation, within: float) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(within):
            return await check(installation)
    except UnavailableError as error:
        return [Finding(name, f"does not answer ({error})", "start it, or correct its address or account")]
    except TimeoutError:
        return [Finding(name, f"has not answered within {within:.0f} s", "start it, or correct its address")]
    except Exception as error:  # noqa: BLE001  whatever is wrong with one part, the others are looked at
        # Its text may hold an address with a password.
        return [Finding(name, f"failed with {type(error).__name__}", "see the server's own log")]


def _judged(what: str, problems: Sequence[str], remedy: str) -> Finding:
    return Finding(what, "; ".join(problems) or None, remedy)


async def _settings(installation: Installation) -> Sequence[Finding]:
    settings = installation.settings
    problems = [] if settings.is_development else [*production_problems(settings), *_rehearsals(settings)]
    well = Finding(f"settings of a {settings.profile} installation")
    return [Finding("settings", one, "correct the variable and restart") for one in problems] or [well]


def _rehearsals(settings: Settings) -> list[str]:
    """Accounts of others that only pretend."""
    found = []
    if settings.razorpay_key_id.startswith("rzp_test_"):
        found.append("VISITNOW_RAZORPAY_KEY_ID is one of the gateway's test mode: nobody really pays")
    if (settings.twilio_sms_from or "").startswith("+1500555"):
        found.append("VISITNOW_TWILIO_SMS_FROM is a number for trying out: no message arrives")
    return found


async def _reachability(installation: Installation) -> Sequence[Finding]:
    settings = installation.settings
    given = {
        "webhooks of payments": (bool(settings.webhook_secrets), "RAZORPAY_WEBHOOK_SECRETS"),
        "text messages and their receipts": (settings.twilio_auth_token is not None, "TWILIO_AUTH_TOKEN"),
        "e-mail": (settings.smtp_url is not None, "SMTP_URL"),
        "documents": (settings.storage_url is not None, "STORAGE_URL"),
    }
    return [
        Finding(what, None if there else f"VISITNOW_{name} is not set", f"set VISITNOW_{name}")
        for what, (there, name) in given.items()
    ]


async def _mongodb(installation: Installation) -> Sequence[Finding]:
    differences = await installation.mongo.differences()
    return [_judged("MongoDB's collections, validators and indexes", differences, "visitnow migrate")]


async def _clock(installation: Installation) -> Sequence[Finding]:
    ahead, asked_for = await installation.mongo.clock()
    problem = None
    if abs(ahead) > MOST_SKEW + asked_for:
        problem = f"this machine and MongoDB differ by {abs(ahead):.1f} s"
    return [Finding("clocks", problem, "let both follow the same time servers (NTP)")]


async def _accounts(installation: Installation) -> Sequence[Finding]:
    settings, mongo = installation
    remedy = "give each account its role of deploy/mongodb/roles.json and nothing else, with access control on"
    own = [
        f"VISITNOW_{name.upper()} is not set: the application's account is used"
        for name in ("audit_mongodb_url", "vault_mongodb_url")
        if getattr(settings, name) is None
    ]
    writer = [f"it could {one}" for one in await mongo.overreach_of_the_audit_s_writer()]
    application = [f"it could {one}" for one in await mongo.overreach_of_the_application()]
    return [
        _judged("accounts of the audit and of the key vault", own, "set the variable"),
        _judged("the audit's writer only adds and reads", writer, remedy),
        _judged("the application rewrites no record and reads no keys", application, remedy),
    ]


async def _strangers(installation: Installation) -> Sequence[Finding]:
    if installation.settings.is_development:
        return []
    known = await installation.mongo.known([one.id for one in everybody()])
    return [_judged("no account with a published password", known, "remove these accounts of the development stack")]


async def _keys(installation: Installation) -> Sequence[Finding]:
    used = await installation.mongo.wrapping()
    try:
        ours = key_encryption_keys(installation.settings.kms_url)
    except ValueError as error:
        return [Finding("keys", str(error), "correct VISITNOW_KMS_URL")]
    lost = sum(count for name, count in used.items() if name not in ours)
    older = sum(count for name, count in used.items() if name in ours and name != next(iter(ours)))
    problems = [f"{lost} data keys are wrapped under a key that is not in VISITNOW_KMS_URL"] if lost else []
    rotation = [f"{older} data keys are still wrapped under an older key"] if older else []
    return [
        _judged(f"the key vault: {sum(used.values())} data keys", problems, "add the key that they were wrapped under"),
        _judged("data keys are wrapped under the newest key", rotation, "visitnow keys rotate"),
    ]


async def _seals(installation: Installation) -> Sequence[Finding]:
    until, late = await installation.mongo.sealed_until(OLDEST_MARK), datetime.now(UTC) - OLDEST_MARK
    problem = None
    if until is None or until < late:
        since = "ever" if until is None else f"since {until:%Y-%m-%d %H:%M} UTC"
        problem = f"no run has put all of the audit under seals {since}"
    remedy = "look at AuditSealingWorkflow in the Temporal UI, then visitnow audit verify"
    return [Finding("the audit's entries are under seals", problem, remedy)]


async def _redis(installation: Installation) -> Sequence[Finding]:
    redis = connect_redis(installation.settings.redis_url.get_secret_value())
    try:
        with unavailable():
            await redis.ping()
    finally:
        await redis.aclose()
    return [Finding("Redis")]


async def _storage(installation: Installation) -> Sequence[Finding]:
    await try_out(installation.settings.storage_url)
    return [Finding("object storage takes, gives back and removes")]


async def _backups(installation: Installation) -> Sequence[Finding]:
    settings = installation.settings
    if settings.backup_url is None:
        if settings.is_development:
            return [Finding("backups are not asked of a development installation")]
        problem = "VISITNOW_BACKUP_URL is not set: nothing is backed up"
        return [Finding("backups", problem, "docs/disaster.md says what to set up")]
    since, late = datetime.now(UTC) - OLDEST_BACKUP, []
    for store, kind in zip(places(settings), (BackupKind.DATA, BackupKind.VAULT), strict=True):
        newest = next(iter(await store.finished(kind)), None)
        if newest is None or (await store.manifest(kind, newest)).taken_at < since:
            late.append(f"there is none of the {kind} since {since:%Y-%m-%d %H:%M} UTC")
    return [_judged("backups", late, "visitnow backup, and a cron job that does it (docs/disaster.md)")]


async def _temporal(installation: Installation) -> Sequence[Finding]:
    client = await connect_temporal(installation.settings)
    attributes = await search_attribute_problems(client)
    missing = await schedule_problems(client, schedules())
    idle = await idle_queues(client, WORK)
    return [
        _judged("Temporal's search attributes", attributes, "visitnow migrate"),
        _judged("schedules", missing, "visitnow schedules apply; one that somebody has paused: unpause it"),
        _judged("somebody works on every task queue", idle, "visitnow worker --queue …"),
    ]


async def _relay(installation: Installation) -> Sequence[Finding]:
    held = await installation.mongo.is_held(LEASE)
    problem = None if held else "nobody carries events to the audit and to people"
    return [Finding("the outbox's relay", problem, "visitnow worker --queue booking (or relay)")]


CHECKS: Final[Mapping[str, Check]] = {
    "settings": _settings,
    "what we are reached by": _reachability,
    "MongoDB": _mongodb,
    "clocks": _clock,
    "MongoDB's accounts": _accounts,
    "people": _strangers,
    "audit": _seals,
    "key vault": _keys,
    "Redis": _redis,
    "object storage": _storage,
    "backups": _backups,
    "Temporal": _temporal,
    "relay": _relay,
}
"""Name of what may be away → what is looked at there."""
