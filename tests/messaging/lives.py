"""Lives of notices, each drawn from one number: a reader, a phone of its own kind, a carrier that loses its answers.

The telling is the product's own, on the real workflow service and the real database. What is played is whoever carries
messages, what calls back, and whoever dies: each step may fail as if its process had been killed before it, after it,
or in the middle of handing a message over.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final, Self

from temporalio.client import Client, WorkflowHandle
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor, Worker

from activities.messaging import Delivery, MessagingActivities
from activities.notices import CloseNotice, NoticeActivities, Sources, Try
from adapters.mongo.repositories import Repositories
from adapters.texts import FileTexts
from models.booking import PlaceBooking
from models.channels import RECEIPTS, Reach, channels_for
from models.errors import DeliveryError, UnavailableError
from models.identity import Account, Subject, Tenant
from models.ids import notice_of_try, notice_workflow_id, random_id
from models.messaging import Channel, Letter, Message, MessageState, Word
from models.notice_facts import Site
from models.notices import Notice, NoticeState
from models.policy import QuietHours, TenantPolicy
from models.providers import Clinic, PaymentMode, Provider, TenantRecord
from models.templates import Registered, Words
from tests.adapters.mongo.builders import a_clinic, a_command, a_notice, a_provider, a_service, a_step, a_template
from tests.adapters.mongo.people import an_answer
from tests.messaging.readers import WORLD, a_reader
from workers.runner import workflow_runner
from workflows.notifier import DurableNotifier
from workflows.notifying import NotifyWorkflow
from workflows.policies import NOTIFY_QUEUE

SENDER: Final = "+15005550006"
SENDERS: Final = {Channel.SMS: SENDER, Channel.WHATSAPP: f"whatsapp:{SENDER}"}
PROMPT: Final = TenantPolicy(delivery_receipt_timeout_seconds=1, quiet_hours=QuietHours(start=time(0), end=time(0)))
WORDS: Final = Words(
    short="{{ reference }} {{ registration }}", subject="ok", text="{{ reference }} {{ registration }}"
)
APPROVED: Final = Registered(content_sid="HX" + "a" * 32, content_variables=("doctor", "when", "reference"))
HANDED_OVER: Final = (
    *("taken",) * 4, *("lost",) * 2, "lost before", "limited", "refused", "killed", "killed before",
)  # fmt: skip
CALLBACKS: Final = ("once", "once", "twice", "reversed", "never")
REACHES: Final = (MessageState.DELIVERED, MessageState.DELIVERED, MessageState.SENT, MessageState.FAILED)
KNOWN: Final = (MessageState.SENT, MessageState.DELIVERED)


class DiedError(Exception):
    """The process was killed here."""


@dataclass(frozen=True)
class Taken:
    """What a phone or a mailbox would show."""

    channel: Channel
    message_id: str
    provider_id: str
    text: str
    at: datetime


@dataclass
class Life:
    """One notice and all that becomes of it."""

    number: int
    reader: Account
    notice: Notice
    whatsapp: bool
    chance: random.Random
    reaches: Mapping[Channel, MessageState]
    taken: list[Taken] = field(default_factory=list)
    stopped: set[Channel] = field(default_factory=set)
    known: set[Channel] = field(default_factory=set)
    """Channels of which the telling has learnt that they have brought it."""
    broken: list[str] = field(default_factory=list)
    """What must not have happened."""

    @property
    def arrived(self) -> tuple[Channel, ...]:
        """The channels that have taken it, in their order."""
        return tuple(dict.fromkeys(one.channel for one in self.taken))

    def may_die(self) -> None:
        """Perhaps the process is killed here."""
        if self.chance.random() < 0.08:  # often enough that hardly any life goes undisturbed
            raise DiedError

    def truth(self, taken: Taken) -> MessageState:
        """What became of a message by now."""
        over = datetime.now(UTC) - taken.at > timedelta(seconds=self.number % 16 / 10)
        return self.reaches[taken.channel] if over else MessageState.SENT

    def violations(self, state: NoticeState) -> list[str]:
        """What is wrong with it, once its telling has ended."""
        found = list(self.broken)
        for channel in self.arrived:
            mine = [one for one in self.taken if one.channel is channel]
            # A relay cannot be asked what it took: a repeated e-mail bears the same Message-ID, and mailboxes show one.
            seen = {(one.message_id, one.text) if channel is Channel.EMAIL else one.provider_id for one in mine}
            if len(seen) > 1:
                found.append(f"{len(seen)} messages by {channel}")
        plan = channels_for(
            Reach(self.reader, frozenset(Channel), whatsapp=self.whatsapp, preferred=self.reader.preferred_channel)
        )
        if list(self.arrived) != [one for one in plan if one in self.arrived]:
            found.append(f"came by {self.arrived} where {plan} was the order")
        if state in {NoticeState.SENT, NoticeState.DELIVERED} and not self.taken:
            found.append(f"{state}, and nothing arrived")
        on_phones = [one for one in self.arrived if one in RECEIPTS and self.reaches[one] in KNOWN]
        if state is NoticeState.FAILED and on_phones:
            found.append(f"given up, though {on_phones} have it")
        return [f"life {self.number}: {one}" for one in found]


def _about(argument: object) -> str:
    """The notice that a step is about."""
    match argument:
        case Notice():
            return argument.id
        case Try():
            return argument.notice.id
        case CloseNotice():
            return argument.notice_id
        case Delivery():
            return notice_of_try(argument.message_id) or ""
        case _:
            msg = "lives know no such step"
            raise TypeError(msg)


class Fates(Interceptor):
    """Implements `models.notice_ports.Carrier`, and stands around every step."""

    def __init__(self, stores: Repositories, notifier: DurableNotifier) -> None:
        """Where receipts are noted, and who is told of them."""
        self.lives: dict[str, Life] = {}
        self._stores = stores
        self._notifier = notifier
        self._calling: set[asyncio.Task[None]] = set()

    # Who dies

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002  the SDK's name
        return _Mortal(next, self)

    async def before(self, life: Life) -> None:
        """A reply that stops a sender, or death."""
        channel = life.chance.choice(sorted(SENDERS))
        if life.chance.random() < 0.02 and channel not in life.stopped:
            prefix = "whatsapp:" if channel is Channel.WHATSAPP else ""
            await self._stores.stops.note(
                SENDERS[channel],
                f"{prefix}{life.reader.phone}",
                stopped=True,
                reply_id=random_id("SM"),
                at=datetime.now(UTC),
            )
            life.stopped.add(channel)
        life.may_die()

    # Who carries

    async def send(self, message: Message, letter: Letter) -> Word:
        life = self.lives[message.notice_id or ""]
        if life.known - {message.channel}:
            life.broken.append(f"{message.channel} after {sorted(life.known)} had brought it")
        if message.channel in life.stopped:
            life.broken.append(f"written to by {message.channel} after a stop")
        match life.chance.choice(HANDED_OVER):
            case "lost before":
                raise UnavailableError("no answer, and nothing was taken")
            case "killed before":
                raise DiedError
            case "limited":
                raise DeliveryError("20429", permanent=False)
            case "refused":
                raise DeliveryError("21614", permanent=True)
            case how:
                taken = Taken(message.channel, message.id, random_id("SM"), letter.text, datetime.now(UTC))
                life.taken.append(taken)
                self._call_back(life, taken)
                if how == "lost":
                    raise UnavailableError("taken, but the answer was lost")
                if how == "killed":
                    raise DiedError
                return Word(state=MessageState.SENT, provider_id=taken.provider_id)

    async def find(self, message: Message, letter: Letter, since: datetime) -> Word | None:
        life = self.lives[message.notice_id or ""]
        self._may_be_away(life)
        if message.channel not in RECEIPTS:
            return None
        mine = (
            one.provider_id
            for one in life.taken
            if (one.message_id, one.text) == (message.id, letter.text) and one.at >= since
        )
        found = next(mine, None)
        return None if found is None else Word(state=MessageState.SENT, provider_id=found)

    async def fetch(self, message: Message, provider_id: str) -> Word | None:
        life = self.lives[message.notice_id or ""]
        self._may_be_away(life)
        if message.channel not in RECEIPTS:
            return None
        [mine] = [one for one in life.taken if one.provider_id == provider_id]
        state = life.truth(mine)
        if state is MessageState.DELIVERED:
            life.known.add(message.channel)
        return Word(state=state, provider_id=provider_id)

    def _may_be_away(self, life: Life) -> None:
        if life.chance.random() < 0.2:
            raise UnavailableError("who could be asked is away too")

    # What calls back

    def _call_back(self, life: Life, taken: Taken) -> None:
        if taken.channel in RECEIPTS:
            task = asyncio.create_task(self._calls_back(life, taken, life.chance.uniform(0, 2)))
            self._calling.add(task)

    async def _calls_back(self, life: Life, taken: Taken, delay: float) -> None:
        reached, how = life.reaches[taken.channel], CALLBACKS[life.number % len(CALLBACKS)]
        words = {"once": [reached], "twice": [reached] * 2, "reversed": [reached, MessageState.SENT], "never": []}
        await asyncio.sleep(delay)
        for word in words[how]:
            said = Word(state=word, provider_id=taken.provider_id)
            scope = Tenant(life.notice.tenant_id)
            await self._stores.notifications.settle(scope, taken.message_id, said, datetime.now(UTC))
            await self._notifier.receipt(life.notice.id)

    async def fall_silent(self) -> None:
        """Nobody calls back any more; raises what went wrong where somebody did."""
        await asyncio.gather(*self._calling)
        self._calling.clear()


class _Mortal(ActivityInboundInterceptor):
    def __init__(self, following: ActivityInboundInterceptor, fates: Fates) -> None:
        super().__init__(following)
        self._fates = fates

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ANN401  the SDK's signature
        argument = input.args[0]
        life = self._fates.lives[_about(argument)]
        await self._fates.before(life)
        result = await super().execute_activity(input)
        life.may_die()
        if isinstance(argument, Delivery) and result is MessageState.DELIVERED:
            life.known.add(Channel(argument.message_id.rpartition(":")[2]))
        return result


class Lives:
    """Where they are lived."""

    def __init__(self, stores: Repositories, client: Client, clinic: Clinic, provider: Provider) -> None:
        """A clinic that says things in words of its own, which WhatsApp has approved."""
        self.stores = stores
        self.client = client
        self.notifier = DurableNotifier(client)
        self.fates = Fates(stores, self.notifier)
        self._clinic = clinic
        self._provider = provider

    @classmethod
    async def at(cls, stores: Repositories, client: Client) -> Self:
        """In a clinic that is made for it."""
        clinic = a_clinic()
        provider = a_provider(clinic)
        await stores.directory.put_tenant(WORLD, TenantRecord(id=clinic.tenant_id, slug=clinic.slug, name="Arogya"))
        await stores.directory.put_clinic(WORLD, clinic)
        await stores.directory.put_provider(WORLD, provider)
        await stores.templates.add(WORLD, a_template(tenant_id=clinic.tenant_id, words=WORDS, registered=APPROVED))
        return cls(stores, client, clinic, provider)

    @asynccontextmanager
    async def told(self) -> AsyncIterator[None]:
        """A worker tells within; it forgets most workflows at once, so that they are replayed all the time."""
        steps, messages = self.steps, self._messages()
        async with Worker(
            self.client,
            task_queue=NOTIFY_QUEUE,
            workflows=[NotifyWorkflow],
            activities=[
                *(steps.plan, steps.prepare, steps.close),
                *(messages.deliver, messages.look, messages.standing, messages.give_up),
            ],
            interceptors=[self.fates],
            workflow_runner=workflow_runner(),
            max_cached_workflows=20,
        ):
            yield

    @property
    def steps(self) -> NoticeActivities:
        """The telling's own steps."""
        stores = self.stores
        sources = Sources(
            stores.appointments,
            stores.directory,
            stores.tenancy,
            stores.users,
            stores.consents,
            stores.templates,
            stores.offers,
        )
        return NoticeActivities(
            stores.notices,
            stores.notifications,
            sources,
            FileTexts(),
            configured=frozenset(Channel),
            site=Site("https://visitnow.example", b"a secret of the tests' own"),
        )

    def _messages(self) -> MessagingActivities:
        return MessagingActivities(
            self.stores.notifications,
            FileTexts(),
            self.fates,
            self.stores.stops,
            senders=SENDERS,
            leaves=self.stores.deletions.standing,
            still=self.steps.still,
        )

    async def booked(
        self, reader: Account, dependant_id: str | None = None, policy: TenantPolicy = PROMPT
    ) -> PlaceBooking:
        """A confirmed visit of theirs, or of one whom they book for."""
        command = a_command(
            tenant_id=self._clinic.tenant_id,
            clinic_id=self._clinic.id,
            provider_id=self._provider.id,
            practitioner_id=self._provider.practitioner_id,
            subject_id=reader.id,
            dependant_id=dependant_id,
            service=a_service(payment=PaymentMode.AT_CLINIC),
            policy=policy,
        )
        await self.stores.appointments.insert(WORLD, a_step(command), None)
        return command

    async def life(self, number: int) -> Life:
        """Somebody who is about to be told that their visit is confirmed."""
        chance = random.Random(number)  # noqa: S311  repeatable, not secret
        some: Sequence[Channel | None] = (None, None, *Channel)
        change: dict[str, object] = {"locale": "en", "preferred_channel": chance.choice(some)}
        if chance.random() < 0.15:
            change["email"] = None
        reader = await a_reader(self.stores, **change)
        whatsapp = chance.random() < 0.7
        if whatsapp:
            await self.stores.consents.record(Subject(reader.id), an_answer(reader.id))
        command = await self.booked(reader)
        notice = a_notice(
            tenant_id=command.tenant_id,
            appointment_id=command.appointment_id,
            recipient_id=reader.id,
            expires_at=datetime.now(UTC) + timedelta(seconds=chance.uniform(8, 14)),
        )
        reaches = {channel: chance.choice(REACHES) for channel in Channel}
        life = Life(number, reader, notice, whatsapp, chance, reaches)
        self.fates.lives[notice.id] = life
        return life

    async def live(self, life: Life) -> NoticeState:
        """Have it told, as often as somebody asks; how it ended. Asking once more afterwards tells nothing."""
        for _ in range(life.number % 3 + 1):
            await self.notifier.notify(life.notice)
        told: WorkflowHandle[NotifyWorkflow, NoticeState] = self.client.get_workflow_handle_for(
            NotifyWorkflow.run, notice_workflow_id(life.notice.id)
        )
        state = await told.result()
        await self.notifier.notify(life.notice)
        return state
