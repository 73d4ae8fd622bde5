"""The act of a farewell: the patient takes everything along and is forgotten, and three witnesses say so."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import time
import zipfile
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cli.audit import told, verified
from cli.demo.stage import PATIENCE, POLL_SECONDS, Ending, Say, Stage, StoryError, Visitor, insist, seen
from cli.demo.views import (
    AccountSeen,
    BundleSeen,
    CertificateSeen,
    CertifiedSeen,
    DeletionAskedSeen,
    DeletionSeen,
    ExportSeen,
    KeysSeen,
    ManifestSeen,
    ProofSeen,
    View,
)
from cli.demo.visit import NAME, PHONE, REVIEW, SUMMARY
from models.disguises import Canaries
from models.ids import deletion_workflow_id

LONGEST: Final = 60.0
"""Seconds that making the archive, or being forgotten in every store, may take."""

V = TypeVar("V", bound=View)


async def a_farewell(stage: Stage, say: Say) -> Ending:
    """Take everything along, be forgotten, then ask the scanner, the certificate and the audit."""
    sunita = await stage.newcomer(PHONE, NAME)
    subject_id = seen(await sunita.get("/me"), AccountSeen).id
    say("Sunita proves once more that it is her, and asks for everything that is held about her")
    files = await _taken_along(stage, sunita)
    found = await stage.sightings(_her_words(stage))
    insist(bool(found), "the scanner is blind: it does not find her while she is here")
    say(f"{files} files in her archive, whole, her visit in FHIR among them; now she wants to be forgotten")
    before = await stage.letters_to(PHONE)
    asked = seen(await sunita.post("/me/deletion-requests", {}), DeletionAskedSeen, HTTPStatus.ACCEPTED)
    proof = {"code": await stage.new_code(PHONE, before)}
    seen(await sunita.post(f"/me/deletion-requests/{asked.id}/confirm", proof), DeletionSeen)
    afterwards = stage.bearer(asked.request_token)
    path = f"/me/deletion-requests/{asked.id}"
    await _until(lambda: _one(afterwards, path, DeletionSeen), lambda one: one.state == "erased", "she is forgotten")
    certificate = await _one(afterwards, f"{path}/certificate", CertificateSeen)
    say("erased and certified; now the three witnesses are heard")
    await _scanner_finds_nothing(stage)
    await _certificate_holds(stage, certificate, subject_id)
    await _audit_says_the_same(stage, certificate, subject_id)
    stores = len({one.store for one in certificate.certificate.receipts})
    return Ending(None, f"exported, erased in {stores} stores; three witnesses agree", deletion_workflow_id(asked.id))


async def _taken_along(stage: Stage, sunita: Visitor) -> int:
    """How many files are in the archive, once it is seen to be whole and to hold the visit."""
    step_up = seen(await sunita.post("/auth/step-up", await stage.proof(PHONE)), ProofSeen).step_up_token
    begun = await sunita.post("/me/exports", {}, {"Step-Up": step_up})
    path = f"/me/exports/{seen(begun, ExportSeen, HTTPStatus.ACCEPTED).id}"
    ready = await _until(lambda: _one(sunita, path, ExportSeen), lambda one: bool(one.download_url), "it is exported")
    archive = (await stage.api.get(str(ready.download_url))).content
    insist(hashlib.sha256(archive).hexdigest() == ready.sha256, "the archive is not what its digest says")
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        for one in ManifestSeen.model_validate_json(files.read("manifest.json")).files:
            digest = hashlib.sha256(files.read(one.name)).hexdigest()
            insist(digest == one.sha256, f"{one.name} is not what the manifest says")
        summary = files.read("data/consultations.json").decode()
        insist(str(SUMMARY["diagnosis"]) in summary, "the visit's summary is not in the archive")
        kinds = {one.resource.kind for one in BundleSeen.model_validate_json(files.read("fhir/bundle.json")).entry}
        wanted = {"Patient", "Appointment", "Encounter", "MedicationRequest"}
        insist(wanted <= kinds, f"the FHIR bundle lacks {sorted(wanted - kinds)}")
        return len(files.namelist())


def _her_words(stage: Stage) -> Canaries:
    """What nobody else on this stage is called, has for a number, was told or has said."""
    words = (NAME, str(SUMMARY["notes"]), str(SUMMARY["diagnosis"]), str(REVIEW["comment"]))
    return Canaries(stage.settings.index_key, words=list(words), phones=[PHONE])


async def _scanner_finds_nothing(stage: Stage) -> None:
    """What a search in Temporal finds is behind by a moment, so it may look again."""
    give_up = time.monotonic() + PATIENCE
    while found := await stage.sightings(_her_words(stage)):
        places = sorted({f"{one.place} ({one.form})" for one in found})
        insist(time.monotonic() < give_up, f"the scanner still finds her: {', '.join(places[:5])}")
        await asyncio.sleep(POLL_SECONDS)


async def _certificate_holds(stage: Stage, certificate: CertificateSeen, subject_id: str) -> None:
    """It is signed with our published key, says of whom it is, and keeps nothing back."""
    signed = CertifiedSeen.model_validate_json(_signed(certificate.signature, await stage.published_keys()))
    said = certificate.certificate
    insist(signed == said, "what is signed is not what is said")
    insist(signed.subject == subject_id, "the certificate is somebody else's")
    insist(not said.retained or all(one.erased_at for one in said.retained), "something was kept back")


def _signed(statement: str, published: KeysSeen) -> bytes:
    """What is signed, read as anybody would: a compact JWS (RFC 7515), an Ed25519 key by its name."""
    head, payload, signature = statement.split(".")
    name = json.loads(_decoded(head))["kid"]
    key = next((one.x for one in published.keys if one.kid == name), None)
    if key is None:
        raise StoryError("the certificate's key is not published")
    try:
        Ed25519PublicKey.from_public_bytes(_decoded(key)).verify(_decoded(signature), f"{head}.{payload}".encode())
    except InvalidSignature as error:
        raise StoryError("the certificate's signature does not hold") from error
    return _decoded(payload)


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


async def _audit_says_the_same(stage: Stage, certificate: CertificateSeen, subject_id: str) -> None:
    """The audit verifies, and names the destroying of every key that the certificate names."""
    report = await verified(stage.settings, None)
    insist(not report.findings, f"the audit does not verify: {'; '.join(told(report)[:3])}")
    certified = {one.part for one in certificate.certificate.receipts if one.store == "keys" and one.erased}
    noted = await stage.keys_destroyed(subject_id)
    insist(certified == noted, f"keys destroyed: {sorted(certified)} certified, {sorted(noted)} in the audit")


async def _one(who: Visitor, path: str, view: type[V]) -> V:
    return seen(await who.get(path), view)


async def _until(look: Callable[[], Awaitable[V]], good: Callable[[V], bool], what: str) -> V:
    give_up = time.monotonic() + LONGEST
    while not good(found := await look()):
        if time.monotonic() > give_up:
            raise StoryError(f"after {LONGEST:.0f} s it does not hold that {what}")
        await asyncio.sleep(POLL_SECONDS)
    return found
