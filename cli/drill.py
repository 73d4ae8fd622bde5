"""`visitnow drill`: back up, lose everything, restore into fresh servers, and see whether it is as it was."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import httpx
import typer
from pydantic import SecretStr, ValidationError
from rich.table import Table

from activities.compliance import SealEverything
from adapters.connections import connect_temporal
from adapters.settings import KEY_BYTES, Settings
from cli.backup import taken_and_noted
from cli.demo.acts import cancelled_in_time, paid_in_time
from cli.demo.stage import Stage, StoryError, insist
from cli.demo.views import AppointmentSeen
from cli.outcome import Outcome, Tell
from cli.output import CommandError, console, explained
from cli.restore import Chosen, restored
from cli.restoring import Target
from cli.seed.catalogues import full
from cli.signals import ignore_signals, stoppable
from cli.stack import LocalStack
from models.booking import AppointmentState
from models.ids import refund_workflow_id
from models.payments import RefundReason, RefundState, owed_refund_id
from models.policy import TenantPolicy
from sandbox.servers.stack import RunningServers
from workers import schedules
from workflows.compliance import AuditSealingWorkflow
from workflows.policies import BULK_QUEUE

WHO_PAYS: Final = 1
"""The number of the patient who pays in time (`cli.demo.acts`)."""

app = typer.Typer()


@app.command(name="drill")
def drill(
    *,
    temporal: Annotated[bool, typer.Option("--temporal", help="Lose Temporal too: visits get workflows anew.")] = False,
) -> None:
    """Rehearse a disaster on a stack of its own; exit code 1 where something was not as it was.

    Nothing that runs is touched. MongoDB, the key vault, Redis and the files are lost; what takes how long is printed.
    """
    with explained(), stoppable(), TemporaryDirectory(prefix="visitnow-drill-") as folder:
        stack: LocalStack | None = None
        try:
            with console.status("") as status:
                stack = LocalStack(full(TenantPolicy()), status.update, RunningServers())
                rehearsal = Rehearsal(stack, Path(folder), status.update)
                rehearsal.play(temporal=temporal)
            console.print(rehearsal.table())
            for line in rehearsal.lines:
                console.print(line, markup=False)
            if rehearsal.faults:
                raise CommandError("\n".join(["not everything is as it was:", *rehearsal.faults]))
        except (StoryError, httpx.HTTPError, ValidationError) as error:
            raise CommandError(f"the drill went otherwise than it should: {error}") from error
        finally:
            ignore_signals()
            if stack is not None:
                stack.stop()


class Rehearsal:
    """One drill: what is done, how long each part takes, and what came of it."""

    def __init__(self, stack: LocalStack, folder: Path, tell: Tell) -> None:
        """Nothing runs yet; backups go to the folder, and `tell` hears what is going on."""
        self._stack = stack
        self._tell = tell
        self._backups: dict[str, object] = {
            "backup_url": (folder / "backups").as_uri(),
            "backup_vault_url": (folder / "vault-backups").as_uri(),
            "backup_keys": SecretStr(f"drill:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"),
        }
        self._took: dict[str, float] = {}
        self._lines: list[str] = []
        self._outcome = Outcome()
        self.lost: timedelta | None = None
        """The recovery point: how far back the backup was when everything was lost."""

    @property
    def settings(self) -> Settings:
        """The stack's own, and where backups go."""
        return self._stack.settings.model_copy(update=self._backups)

    @property
    def faults(self) -> list[str]:
        """What must not be."""
        return self._outcome.faults

    @property
    def lines(self) -> list[str]:
        """What was done, in sentences."""
        return [*self._outcome.lines, *self._lines]

    def play(self, *, temporal: bool) -> None:
        """Everything from the first booking to the first one after the disaster. Raises `StoryError` and others."""
        self._stack.start()
        kept, given_up = asyncio.run(self._before())
        with self._timed("making the backup"):
            manifest = asyncio.run(taken_and_noted(self.settings)).data
        lost = asyncio.run(self._booked("somebody books whose booking will be lost"))
        asyncio.run(self._given_up(given_up, "somebody cancels, which will be forgotten"))
        self.lost = datetime.now(UTC) - manifest.taken_at
        with self._timed("fresh servers"):
            self._stack.lose_servers(temporal=temporal)
        with self._timed("restoring, verifying"):
            asyncio.run(self._restore(temporal=temporal))
        with self._timed("API and workers"):
            self._stack.resume()
        with self._timed("the first booking, paid"):
            asyncio.run(self._booked("somebody books"))
        asyncio.run(self._see_it_live(kept))
        asyncio.run(self._see_it_gone(given_up))
        named = [one for one in self.lines if lost in one]
        insist(len(named) >= 1 and any("paise" in one for one in named), f"nobody is told of {lost} and its money")
        insist(any(given_up in one for one in self.lines), f"nobody is told that {given_up} was cancelled once")

    def table(self) -> Table:
        """What took how long."""
        table = Table(title="A disaster, rehearsed", title_justify="left", show_header=False)
        for what, seconds in self._took.items():
            table.add_row(what, f"{seconds:6.1f} s")
        after = sum(list(self._took.values())[1:])
        table.add_row("[bold]recovery time[/]: from the loss to a confirmed booking", f"[bold]{after:6.1f} s[/]")
        if self.lost is not None:
            table.add_row("[bold]recovery point[/]: what was lost", f"[bold]{self.lost.total_seconds():6.1f} s[/]")
        return table

    async def _before(self) -> tuple[str, str]:
        """Money comes and goes back, two visits are to be, and the audit is under seals."""
        async with Stage(self._stack) as stage:
            kept = await paid_in_time(stage, self._tell)
            given_up = await paid_in_time(stage, self._tell)
            await cancelled_in_time(stage, self._tell)
        self._tell("sealing the audit")
        client = await connect_temporal(self.settings)
        await client.execute_workflow(
            AuditSealingWorkflow.run, SealEverything(settle_seconds=0), id="drill-sealing", task_queue=BULK_QUEUE
        )
        return kept.visit.id, given_up.visit.id

    async def _booked(self, what: str) -> str:
        self._tell(what)
        async with Stage(self._stack) as stage:
            return (await paid_in_time(stage, self._tell)).visit.id

    async def _restore(self, *, temporal: bool) -> None:
        settings = self.settings
        owner = self._stack.addresses.owner_mongodb_url(settings.database)
        if temporal:
            await schedules.apply(await connect_temporal(settings))
        await restored(settings, Target(owner, owner), Chosen(), self._tell, self._outcome)

    async def _see_it_live(self, appointment: str) -> None:
        """The booking of before is still in its workflow's hands: it can be cancelled, and its money goes back."""
        await self._given_up(appointment, "cancelling the visit of before")
        self._lines.append(f"{appointment}, booked before, was cancelled after the restore, and its money went back")

    async def _see_it_gone(self, appointment: str) -> None:
        """What was cancelled after the backup is cancelled, and its money went back once."""
        self._tell("looking for what was cancelled after the backup")
        async with Stage(self._stack) as stage:
            await stage.visitor(WHO_PAYS).until(appointment, _is_cancelled, "it is cancelled")
            await self._insist_on_all_of_it(stage, appointment)

    async def _given_up(self, appointment: str, what: str) -> None:
        """All of its money goes back, once, however often it is cancelled."""
        self._tell(what)
        async with Stage(self._stack) as stage:
            patient = stage.visitor(WHO_PAYS)
            await patient.cancel(appointment)
            await patient.until(appointment, _is_sent_back, "its money was sent back")
            money = await stage.money_of(appointment)
            client = await connect_temporal(self.settings)
            for one in money.payments:
                refund = owed_refund_id(appointment, one.id, RefundReason.CANCELLED_BY_PATIENT)
                await client.get_workflow_handle(refund_workflow_id(refund)).result()
            await self._insist_on_all_of_it(stage, appointment)

    async def _insist_on_all_of_it(self, stage: Stage, appointment: str) -> None:
        money = await stage.money_of(appointment)
        insist(all(one.amount_refunded == one.amount for one in money.payments), "not all of the money went back")
        insist(len(money.refunds) == 1, f"the money of {appointment} went back {len(money.refunds)} times")

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        self._tell(what)
        began = time.monotonic()
        yield
        self._took[what] = time.monotonic() - began


def _is_cancelled(appointment: AppointmentSeen) -> bool:
    return appointment.state is AppointmentState.CANCELLED


def _is_sent_back(appointment: AppointmentSeen) -> bool:
    """Whether the gateway has had the last word on a refund."""
    return bool(appointment.refunds) and all(one.state is RefundState.PROCESSED for one in appointment.refunds)
