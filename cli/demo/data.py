"""The act of one's data: everything that is held of a patient, asked for with a fresh proof and taken along."""

from __future__ import annotations

import asyncio
import hashlib
import io
import time
from datetime import timedelta
from http import HTTPStatus
from typing import Final
from zipfile import ZipFile

from cli.demo.stage import PATIENCE, POLL_SECONDS, Ending, Say, Stage, Visitor, insist, seen
from cli.demo.views import AppointmentSeen, ExportSeen, ProofSeen
from models.booking import AppointmentState

PHONE: Final = "+919800077002"
NAME: Final = "Farida Sheikh"


async def data_taken_along(stage: Stage, say: Say) -> Ending:
    """Book and pay, prove again who one is, ask for everything, fetch it, look into it."""
    farida = await stage.newcomer(PHONE, NAME)
    booked = await _booked(stage, farida)
    say("Farida asks for everything that is held of her; a new code on her phone proves that it is she")
    proof = seen(await farida.post("/auth/step-up", await stage.proof(PHONE)), ProofSeen)
    asked = await farida.post("/me/exports", {}, {"Step-Up": proof.step_up_token})
    export = await _ready(farida, seen(asked, ExportSeen, HTTPStatus.ACCEPTED).id)
    say("her phone says that it is ready; she fetches it")
    file = await _fetched(stage, export)
    insist(hashlib.sha256(file).hexdigest() == export.sha256, "the file is not the one that was promised")
    with ZipFile(io.BytesIO(file)) as archive:
        insist(archive.testzip() is None, "the archive is damaged")
        names = archive.namelist()
        insist(NAME.encode() in archive.read("data/users.json"), "her name is not in it")
        insist(booked.id.encode() in archive.read("data/appointments.json"), "her visit is not in it")
        insist(b'"resourceType":"Appointment"' in archive.read("fhir/bundle.json"), "her visit is not in it as FHIR")
    return Ending(await farida.look(booked.id), f"{len(names)} files, {len(file) // 1024} KiB, as promised by SHA-256")


async def _booked(stage: Stage, farida: Visitor) -> AppointmentSeen:
    when = await stage.free_time("Ananya Rao", "Consultation", timedelta(days=2), timedelta(days=14))
    held = await farida.book(when)
    insist(held.payment is not None and held.payment.order_id is not None, "there is no order to pay")
    order_id = held.payment.order_id if held.payment is not None else None
    await farida.report_payment(held.id, await stage.somebody_pays(order_id or "", "authorized"))
    return await farida.until(held.id, lambda one: one.state is AppointmentState.CONFIRMED, "it is confirmed")


async def _ready(farida: Visitor, export_id: str) -> ExportSeen:
    give_up = time.monotonic() + PATIENCE
    while True:
        export = seen(await farida.get(f"/me/exports/{export_id}"), ExportSeen)
        if export.download_url is not None:
            return export
        insist(time.monotonic() < give_up, f"the export is still {export.state}")
        await asyncio.sleep(POLL_SECONDS)


async def _fetched(stage: Stage, export: ExportSeen) -> bytes:
    give_up = time.monotonic() + PATIENCE
    while not any("export" in one for one in await stage.letters_to(PHONE)):
        insist(time.monotonic() < give_up, "nobody has told her that it is ready")
        await asyncio.sleep(POLL_SECONDS)
    answer = await stage.api.get(export.download_url or "")
    insist(answer.status_code == HTTPStatus.OK, f"the file is refused: {answer.status_code}")
    return answer.content
