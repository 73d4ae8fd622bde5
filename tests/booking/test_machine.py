"""Any sequence of what people and banks do: the API keeps its word at each step, the invariants hold at the end.

Hypothesis makes up the sequences. Some play at a clinic whose payments have ten minutes, some at one where a second
is all one has, so that expiry comes between any two steps. `--hypothesis-seed` plays others.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import ClassVar, Final

import httpx
import pytest
from hypothesis import HealthCheck, Phase, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from adapters.connections import connect_temporal
from models.booking import CANCELLABLE, STANDING, TRANSITIONS, AppointmentState
from models.identity import Account, Role
from tests.booking.paths import SAID
from tests.booking.scene import Booking, Scene, Wish, reachable
from tests.booking.support import problem, somebody
from tests.booking.town import sweep
from tests.clinics import employee
from tests.invariants import collect, violations
from tests.stack import Json, Stack, eventually

SEED: Final = 7411
EXAMPLES: Final = 24
STEPS: Final = 14
WHICH: Final = st.integers(0, 9)
OVER: Final = frozenset({"cancelled", "expired"})
"""What has no time any more."""


class Life(RuleBasedStateMachine):
    """One sequence, about one doctor's few hours."""

    scene: ClassVar[Scene]

    @initialize(
        tenant=st.sampled_from(["steady", "flash"]), places=st.lists(st.integers(0, 30), min_size=2, max_size=4)
    )
    def open(self, tenant: str, places: list[int]) -> None:
        self.placed: list[Booking] = []
        self.staff = employee(tenant, Role.STAFF)
        self.in_time = tenant == "steady"
        self.wishes = self.scene.run(self.scene.wishes(tenant))
        assert len(self.wishes) > 8
        self.place(places)

    # People

    @rule(places=st.lists(st.integers(0, 30), min_size=1, max_size=3))
    def place(self, places: list[int]) -> None:
        """Some patients want a time each, in the same moment."""
        wishes = [self.wishes[place % len(self.wishes)] for place in places]
        was_free = [not self.scene.is_taken(wish) for wish in wishes]
        people = [somebody() for _ in wishes]
        keys = [secrets.token_urlsafe(12) for _ in wishes]
        answers = self.scene.run(
            self.scene.all_at_once(
                *(self.scene.place(who, wish, key) for who, wish, key in zip(people, wishes, keys, strict=True))
            )
        )
        won = []
        for who, wish, key, answer in zip(people, wishes, keys, answers, strict=True):
            if answer.status_code == 201:
                won.append(Booking(self.scene.hear(answer.json())["id"], who, key, wish, wish))
                self._log(won[-1], f"placed at {wish.start} for {wish.offer.service_id}")
            else:
                problem(answer, 409, "slot_taken")
        for one, other in itertools.combinations(won, 2):
            assert not one.wish.overlaps(other.wish)
        self._check_that_it_was_free(won)
        if was_free[0] and all(one.overlaps(wishes[0]) for one in wishes):
            assert len(won) >= 1, "the time was free and nobody got it"
        self.placed += won
        self.scene.bookings += won

    @rule(
        place=st.integers(0, 30),
        outcome=st.sampled_from(["authorized", "captured"]),
        told=st.booleans(),
        then=st.sampled_from([(), (), ("no-show",), ("check-in",), ("check-in", "start"), tuple(SAID)]),
    )
    def book_and_pay(self, place: int, outcome: str, *, told: bool, then: tuple[str, ...]) -> None:
        """As most people do: at the clinic with enough time it is confirmed, at the other one it may be too late.

        Some come at once, as far as the clinic says so.
        """
        before = len(self.placed)
        self.place([place])
        for booking in self.placed[before:]:
            order = self.scene.run(eventually(partial(self._order, booking), bool))
            assert order is not None
            self.scene.run(self._pay(booking, outcome, "never" if told else "once"))
            if told and booking.payments:
                self.scene.run(self.scene.report(booking, booking.payments[-1]))
            seen = self.scene.run(eventually(partial(self.scene.look, booking), lambda one: one["state"] != "held"))
            assert seen["state"] in ({"confirmed"} if self.in_time else {"confirmed", "expired"})
            for step in then if seen["state"] == "confirmed" else ():
                self._say(booking, step)

    async def _order(self, booking: Booking) -> str | None:
        return self._order_of(booking)

    def _one(self, which: int) -> Booking:
        """One of the bookings; the later ones more often. Which there are, hypothesis cannot know."""
        return self.placed[-1 - which % len(self.placed)]

    def _check_that_it_was_free(self, won: Sequence[Booking]) -> None:
        """Whoever had that time before has it no longer."""
        for earlier in self.placed:
            if any(earlier.wish.overlaps(one.wish) for one in won):
                assert self.scene.run(self.scene.look(earlier))["state"] in OVER

    @rule(which=WHICH, times=st.integers(1, 3), other_body=st.booleans())
    def repeat(self, which: int, times: int, *, other_body: bool) -> None:
        """The same request again, or another one under its key."""
        booking = self._one(which)
        more = {"reason": "another"} if other_body else {}
        again = [self.scene.place(booking.who, booking.asked, booking.key, **more) for _ in range(times)]
        for answer in self.scene.run(self.scene.all_at_once(*again)):
            if other_body:
                problem(answer, 422, "idempotency_key_reused")
            else:
                assert answer.status_code == 201, answer.text
                assert answer.headers["location"] == f"/v1/appointments/{booking.id}"
                self.scene.hear(answer.json())

    @rule(which=WHICH)
    def look(self, which: int) -> None:
        seen = self.scene.run(self.scene.look(self._one(which)))
        assert (seen["payment"] is None) == (seen["state"] != "held")

    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        booking = self._one(which)
        self._hear_cancelled(booking, self.scene.run(self._cancel(booking, booking.who)))

    @rule(which=WHICH)
    def cancel_twice(self, which: int) -> None:
        """Patient and clinic, at once."""
        booking = self._one(which)
        both = self._cancel(booking, booking.who), self._cancel(booking, self.staff)
        answers = self.scene.run(self.scene.all_at_once(*both))
        assert [answer.status_code for answer in answers].count(200) <= 1
        for answer in answers:
            self._hear_cancelled(booking, answer)

    async def _cancel(self, booking: Booking, who: Account) -> httpx.Response:
        return await self.scene.send(who, booking, "cancel", {"reason": "made up"})

    def _hear_cancelled(self, booking: Booking, answer: httpx.Response) -> None:
        if answer.status_code == 200:
            self._log(booking, "cancelled")
            assert self.scene.hear(answer.json())["state"] == "cancelled"
            return
        problem(answer, 409, "state_conflict")
        assert self.scene.run(self.scene.look(booking))["state"] not in CANCELLABLE

    # The visit

    @rule(which=WHICH, step=st.sampled_from(sorted(SAID)))
    def say(self, which: int, step: str) -> None:
        """The clinic says how far a visit is."""
        self._say(self._visit(which), step)

    def _say(self, booking: Booking, step: str) -> None:
        answer = self.scene.run(self.scene.send(self.staff, booking, step, {}))
        self._log(booking, f"{step}: {answer.status_code}")
        if answer.status_code == 200:
            assert self.scene.hear(answer.json())["state"] == SAID[step]
            return
        problem(answer, 409, "state_conflict")
        now = AppointmentState(self.scene.run(self.scene.look(booking))["state"])
        # Its payment may have come just after it was refused.
        assert now is AppointmentState.CONFIRMED or SAID[step] not in TRANSITIONS[now]

    @rule(which=WHICH, other=WHICH, place=st.integers(0, 30), by_clinic=st.booleans())
    def move(self, which: int, other: int, place: int, *, by_clinic: bool) -> None:
        """One visit, or two at once, to another start of the same service."""
        first, second = self._visit(which), self._visit(other)
        there = self._like(first, place)
        movers = [first] if second is first or second.wish.offer != first.wish.offer else [first, second]
        asked = [self._move(one, there, self.staff if by_clinic else one.who) for one in movers]
        answers = self.scene.run(self.scene.all_at_once(*asked))
        moved = [one for one, answer in zip(movers, answers, strict=True) if self._hear_moved(one, there, answer)]
        assert len(moved) <= 1
        for one in moved:
            one.wish = there
            for earlier in self.placed:
                if earlier is not one and earlier.wish.overlaps(there):
                    assert self.scene.run(self.scene.look(earlier))["state"] in OVER

    @rule(which=WHICH, place=st.integers(0, 30))
    def move_and_cancel(self, which: int, place: int) -> None:
        """The patient moves what the clinic cancels."""
        booking = self._visit(which)
        there = self._like(booking, place)
        both = self._move(booking, there, booking.who), self._cancel(booking, self.staff)
        moved, cancelled = self.scene.run(self.scene.all_at_once(*both))
        if moved.status_code == 200:
            booking.wish = there
            assert cancelled.status_code == 200
        else:
            assert problem(moved, 409, moved.json()["code"])["code"] in {"slot_taken", "state_conflict"}
        self._hear_cancelled(booking, cancelled)

    def _visit(self, which: int) -> Booking:
        """One of those that were confirmed, as far as anybody was told, or any."""
        standing = [one for one in self.placed if self.scene.told[one.id][-1] in STANDING]
        return standing[which % len(standing)] if standing else self._one(which)

    def _like(self, booking: Booking, place: int) -> Wish:
        same = [one for one in self.wishes if one.offer == booking.wish.offer]
        return same[place % len(same)]

    async def _move(self, booking: Booking, there: Wish, who: Account) -> httpx.Response:
        return await self.scene.send(who, booking, "reschedule", {"start": there.start})

    def _hear_moved(self, booking: Booking, there: Wish, answer: httpx.Response) -> bool:
        self._log(booking, f"to {there.start}: {answer.status_code}")
        if answer.status_code == 200:
            seen = self.scene.hear(answer.json())
            assert (seen["state"], seen["start"]) == ("confirmed", there.start)
            return True
        assert problem(answer, 409, answer.json()["code"])["code"] in {"slot_taken", "state_conflict"}
        return False

    @rule(which=WHICH, paise=st.integers(100, 45_000))
    def refund(self, which: int, paise: int) -> None:
        """The clinic gives something back."""
        booking = self._one(which)
        body = {"amount": {"amount": paise, "currency": "INR"}, "reason": "made up"}
        answer = self.scene.run(self.scene.send(self.staff, booking, "refunds", body, secrets.token_urlsafe(12)))
        self._log(booking, f"refund of {paise}: {answer.status_code}")
        if answer.status_code != 201:
            assert answer.json()["code"] in {"state_conflict", "refund_exceeds_payment"}

    # Money

    @rule(
        which=WHICH,
        outcome=st.sampled_from(["authorized", "authorized", "captured", "failed"]),
        webhook=st.sampled_from(["once", "once", "never", "thrice", "reordered"]),
    )
    def pay(self, which: int, outcome: str, webhook: str) -> None:
        self.scene.run(self._pay(self._one(which), outcome, webhook))

    async def _pay(self, booking: Booking, outcome: str, webhook: str) -> None:
        order_id = self._order_of(booking)
        if order_id is None:
            return
        paid = await self.scene.pay(order_id, outcome, webhook=webhook)
        self._log(booking, f"{outcome}, webhook {webhook}: {paid['payment_id'] if paid else 'not taken'}")
        if paid is not None:
            booking.payments.append({**paid, "outcome": outcome})

    def _order_of(self, booking: Booking) -> str | None:
        """The gateway's order; also of a booking that is over, as an old tab still shows it."""
        found = self.scene.stack.db.appointments.find_one({"_id": booking.id}, {"order_id": 1})
        assert found is not None
        order_id: str | None = found["order_id"]
        return order_id

    @rule(which=WHICH)
    def report(self, which: int) -> None:
        """The browser hands in what Checkout returned."""
        booking = self._one(which)
        if booking.payments and booking.payments[-1]["outcome"] != "failed":
            self.scene.run(self.scene.report(booking, booking.payments[-1]))

    @rule(which=WHICH, outcome=st.sampled_from(["authorized", "captured"]))
    def the_bank_answers_late(self, which: int, outcome: str) -> None:
        """A payment that failed comes about after all."""
        booking = self._one(which)
        for paid in booking.payments:
            if paid["outcome"] == "failed":
                self.scene.run(self.scene.pay(paid["order_id"], outcome, payment_id=paid["payment_id"]))
                self._log(booking, f"{paid['payment_id']} {outcome} after all")
                paid["outcome"] = outcome
                return

    @rule(which=WHICH, outcome=st.sampled_from(["authorized", "captured"]))
    def pay_and_cancel(self, which: int, outcome: str) -> None:
        booking = self._one(which)

        async def both() -> httpx.Response:
            _, answer = await asyncio.gather(self._pay(booking, outcome, "once"), self._cancel(booking, booking.who))
            return answer

        self._hear_cancelled(booking, self.scene.run(both()))

    @rule()
    def time_passes(self) -> None:
        """Whatever can expire soon does."""
        soon = {"tenant_id": "tnt_flash", "state": "held"}

        async def held() -> int:
            return self.scene.stack.db.appointments.count_documents(soon)

        self.scene.run(eventually(held, lambda count: count == 0))

    def _log(self, booking: Booking, what: str) -> None:
        note(f"{booking.id}: {what}")
        self.scene.steps[booking.id].append(what)


@contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    try:
        yield loop
    finally:
        loop.close()


async def _the_books_hold(scene: Scene) -> Counter[str]:
    """Every invariant holds of everything that the sequences did, else with the steps of what is broken; the ends."""
    client = await connect_temporal(scene.stack.settings)
    ids = list(scene.told)

    async def broken() -> list[str]:
        evidence = await collect(scene.stack, client, scene.told, only=ids)
        found = violations(evidence)
        found += [line for one in evidence.appointments for line in _strange(one, scene.told[one["_id"]][-1])]
        owner = {pay["id"]: _receipt(evidence.gateway, pay["order_id"]) for pay in evidence.gateway["payments"]}
        about = {one for one in ids if any(one in line for line in found)}
        about |= {one for name, one in owner.items() if any(name in line for line in found)}
        return [*found, *(f"{one}: {scene.steps[one]}" for one in sorted(about))]

    await scene.tell_what_was_lost()
    await sweep(client)
    await eventually(broken, lambda found: not found, 40)
    ends = scene.stack.db.appointments.find({"_id": {"$in": ids}}, {"state": 1, "payment_state": 1})
    return Counter(f"{one['state']} {one['payment_state']}" for one in ends)


def _receipt(gateway: Json, order_id: str) -> str:
    """The appointment that an order is for."""
    return next(str(one["receipt"]) for one in gateway["orders"] if one["id"] == order_id)


def _strange(appointment: Json, told: str) -> Iterator[str]:
    """What the table of states or the clock does not allow."""
    name, state = appointment["_id"], appointment["state"]
    if state == "held" and appointment["tenant_id"] == "tnt_flash":
        yield f"{name} is still held"
    if state != told and state not in reachable(told):
        yield f"{name} was {told} and is {state}"


def _life_in(scene: Scene) -> type[Life]:
    class Here(Life):
        pass

    Here.scene = scene
    return Here


def test_any_sequence(shared_stack: Stack, request: pytest.FixtureRequest) -> None:
    chosen = request.config.getoption("--hypothesis-seed") or SEED
    print(f"seed {chosen}")  # noqa: T201  shown where the test fails
    bounds = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        phases=[Phase.explicit, Phase.generate],  # shrinking would play each sequence anew, for minutes
        suppress_health_check=list(HealthCheck),
        database=None,
        deadline=None,
    )
    with _loop() as loop:
        scene = Scene(shared_stack, loop)
        try:
            run_state_machine_as_test(seed(chosen)(_life_in(scene)), settings=bounds)
            ends = scene.run(_the_books_hold(scene))
            print(dict(ends))  # noqa: T201  likewise
            assert {end.split()[0] for end in ends} >= {"held", "confirmed", "cancelled", "expired"}
        finally:
            scene.run(scene.close())
