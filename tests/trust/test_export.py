"""An export: everything that is held, sealed where it lies, gone on with after a crash, gone with its owner's keys."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import obstore
import pytest
import pytest_asyncio
from fhir.resources.R4B.bundle import Bundle
from jsonschema import Draft202012Validator

from adapters.export.sources import DataSource, Left
from adapters.mongo.client import Document
from adapters.settings import Settings
from cli.seed.catalogues import full
from cli.seed.write import write
from models.booking import AppointmentState
from models.data_classes import DataClass
from models.documents_ports import DamagedError
from models.export_shapes import ERASED, schema_of, shapes_of
from models.exports import Cursor, Export, ExportKind, ExportState
from models.holdings import exported
from models.identity import Subject, Tenant
from models.policy import TenantPolicy
from sandbox.servers.stack import Addresses
from tests.api.consultations import a_visit
from tests.installation import installed
from tests.trust.export_support import TEST, Exporter, Opened, Somebody, a_file, moment, somebody

MEBIBYTE: Final = 1024 * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def exporter(
    servers: Addresses, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Exporter]:
    async with installed(servers, settings) as (stores, client):
        await write(settings, full(TenantPolicy()))
        yield Exporter(stores, client, tmp_path_factory.mktemp("exports").as_uri())


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def patient(exporter: Exporter) -> Somebody:
    return await somebody(exporter)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def opened(exporter: Exporter, patient: Somebody) -> Opened:
    """What stands in the patient's export."""
    export = await exporter.asked(patient.account.id)
    found = await exporter.opened(export)
    await exporter.stores.exports.stop(TEST, patient.account.id, moment())
    return found


# What is in it


async def test_everything_that_is_held_is_there(patient: Somebody, opened: Opened) -> None:
    for collection in {one.collection for one in exported()}:
        assert opened.documents(collection), f"nothing of {collection}"
    everything = b"\n".join(opened.contents.values())
    for canary in patient.canaries:
        assert canary.encode() in everything, canary
    assert opened.contents[f"files/{patient.document.id}/{_name(patient)}"] == patient.content


def _name(patient: Somebody) -> str:
    assert patient.document.contents is not None
    return patient.document.contents.name


async def test_nothing_that_opens_anything_is_there(patient: Somebody, opened: Opened) -> None:
    assert patient.document.contents is not None
    everything = b"\n".join(opened.contents[name] for name in opened.names if name.endswith((".json", ".html")))
    for word in (b"password_hash", b"token_hash", b"phone_index", b'"key"', b"Qo" + patient.canaries[0][2:].encode()):
        assert word not in everything, word


async def test_nobody_else_is_there(exporter: Exporter, opened: Opened) -> None:
    other = await somebody(exporter)
    everything = b"\n".join(opened.contents.values())
    for canary in (*other.canaries, other.account.id, other.visit.id):
        assert canary.encode() not in everything, canary


async def test_the_data_is_as_its_schema_says(opened: Opened) -> None:
    schema = schema_of(ExportKind.SUBJECT)
    assert opened.json("schema.json") == schema
    for shape in shapes_of(ExportKind.SUBJECT):
        wanted = {"$ref": f"#/$defs/{shape.collection}", "$defs": schema["$defs"]}
        Draft202012Validator(wanted).validate(opened.json(f"data/{shape.collection}.json"))
    Draft202012Validator({"$ref": "#/$defs/manifest", "$defs": schema["$defs"]}).validate(opened.json("manifest.json"))


async def test_no_field_of_what_is_held_is_unheard_of(exporter: Exporter, patient: Somebody, opened: Opened) -> None:
    """A field that somebody adds is given, or left out for a reason."""
    assert opened.names
    for shape in shapes_of(ExportKind.SUBJECT):
        async for batch in await exporter.stores.holdings.stream(Subject(patient.account.id), shape.collection):
            for held in batch:
                unheard = held.clear.keys() - shape.fields.keys() - shape.excused
                assert not unheard, f"{shape.collection}: tell in models/export_shapes.py what of {unheard} is given"
                assert held.sealed.keys() <= shape.personal.keys(), shape.collection


async def test_the_manifest_names_every_file_with_its_digest(opened: Opened) -> None:
    manifest = opened.json("manifest.json")
    listed = {one["name"]: one for one in manifest["files"]}
    assert listed.keys() == set(opened.names) - {"manifest.json"}
    for name, one in listed.items():
        content = opened.contents[name]
        assert (one["size"], one["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert not one.get("damaged")
    assert listed["data/appointments.json"]["documents"] == 1


async def test_the_visits_are_a_fhir_bundle(patient: Somebody, opened: Opened) -> None:
    bundle = opened.json("fhir/bundle.json")
    Bundle.model_validate(bundle)
    kinds = [one["resource"]["resourceType"] for one in bundle["entry"]]
    assert set(kinds) == {
        "Patient", "Practitioner", "Location", "Appointment", "Encounter", "Condition", "MedicationRequest",
        "DocumentReference",
    }  # fmt: skip
    assert kinds.count("Patient") == 2, "the account's owner, and the child whom they came with"
    [reference] = [one["resource"] for one in bundle["entry"] if one["resource"]["resourceType"] == "DocumentReference"]
    assert reference["content"][0]["attachment"]["url"] == f"files/{patient.document.id}/{_name(patient)}"


async def test_a_page_leads_to_every_file(opened: Opened) -> None:
    page = opened.contents["index.html"].decode()
    for name in opened.names:
        if name != "index.html":
            assert f'href="{name}"' in page, name


async def test_somebody_of_whom_nothing_is_held_is_given_that(exporter: Exporter) -> None:
    nobody = "usr_nobody_at_all"
    found = await exporter.opened(await exporter.asked(nobody))
    held = [one.collection for one in shapes_of(ExportKind.SUBJECT) if found.documents(one.collection)]
    assert held == ["audit"], "that a key was made for them"
    Bundle.model_validate(found.json("fhir/bundle.json"))


async def test_what_was_erased_is_told_as_erased(exporter: Exporter) -> None:
    other = await somebody(exporter)
    await exporter.stores.vault.destroy([other.account.id], DataClass.CLINICAL)
    found = await exporter.opened(await exporter.asked(other.account.id))
    [visit] = found.documents("appointments")
    assert visit["personal"]["clinical"] == ERASED
    assert not [name for name in found.names if name.startswith("files/")]
    [account] = found.documents("users")
    assert account["personal"]["identity"]["phone"] == other.account.phone


# How it is made


async def test_it_is_gone_on_with_after_a_crash(exporter: Exporter) -> None:
    step_by_step = exporter.maker_with(portion=1)
    other = await somebody(exporter, content=b"%PDF-1.4 " + secrets.token_bytes(2 * MEBIBYTE))
    export = await exporter.asked(other.account.id)
    tries = 0
    while not (await exporter.find(export)).packed:
        tries += 1
        before = len((await exporter.find(export)).portions)
        stands = await exporter.find(export)
        making = step_by_step.make(stands.scope, stands)
        async for _ in making:
            # Dies as soon as there is one portion more.
            if len((await exporter.find(export)).portions) > before:
                break
        await making.aclose()
    assert tries > len(shapes_of(ExportKind.SUBJECT)), "each try has made one file"
    whole = await exporter.find(export)
    found = Opened.of(await exporter.file(whole))
    assert found.contents[f"files/{other.document.id}/{_name(other)}"] == other.content
    listed = {one["name"] for one in found.json("manifest.json")["files"]}
    assert listed == set(found.names) - {"manifest.json"}
    assert len(found.names) == len(set(found.names)), "nothing twice"


async def test_a_file_that_was_removed_meanwhile_takes_no_other_with_it(exporter: Exporter) -> None:
    other, step_by_step = await somebody(exporter), exporter.maker_with(portion=1)
    for number in range(3):
        await a_file(exporter, other.visit, secrets.token_bytes(3000), f"scan-{number}")
    export = await exporter.asked(other.account.id)
    making, cursor = step_by_step.make(export.scope, export), None
    async for _ in making:
        cursor = (await exporter.find(export)).cursor
        if cursor is not None and cursor.source == "files":
            break
    await making.aclose()
    assert cursor is not None
    # The one behind which the next try begins.
    removed = await exporter.stores.database["documents"].find_one_and_delete({"_id": cursor.after})
    assert removed is not None
    found = await exporter.opened(await exporter.find(export))
    assert sum(name.startswith("files/") for name in found.names) == 4, "the removed one was packed before"
    assert len(found.names) == len(set(found.names))


async def test_a_practice_finds_its_own_among_everybody_s(exporter: Exporter) -> None:
    """Window by window, also where most of them hold nothing of it."""
    mark = secrets.token_hex(4)
    own = [f"a{mark}_0", f"a{mark}_2000", f"a{mark}_4200", f"a{mark}_9"]
    crowd: list[Document] = [{"_id": f"a{mark}_{number}", "tenant_id": "tnt_large"} for number in range(1, 4300)]
    nobody_s = exporter.stores.database["rollups"]
    await nobody_s.insert_many([one for one in crowd if one["_id"] not in own])
    await nobody_s.insert_many([{"_id": one, "tenant_id": f"tnt_{mark}"} for one in own])
    whose = Tenant(f"tnt_{mark}")
    for after, expected in ((None, own), (own[1], own[2:]), (own[-1], [])):
        batches = await exporter.stores.holdings.stream(whose, "rollups", after=after)
        assert [one.id async for batch in batches for one in batch] == expected
    await nobody_s.delete_many({"_id": {"$regex": f"^a{mark}_"}})


async def test_of_two_tries_at_once_one_goes_on(exporter: Exporter) -> None:
    other = await somebody(exporter)
    export = await exporter.asked(other.account.id)
    first = exporter.maker.make(export.scope, export)
    await anext(first)
    whole, _ = await exporter.made(export)
    with pytest.raises(Exception, match="ahead"):
        [_ async for _ in first]
    again = await exporter.find(export)
    assert again.portions == whole.portions
    assert Opened.of(await exporter.file(again)).documents("users")


async def test_there_is_one_at_a_time(exporter: Exporter) -> None:
    other = await somebody(exporter)
    asked = await asyncio.gather(*(exporter.asked(other.account.id) for _ in range(5)))
    assert len({one.id for one in asked}) == 1
    assert asked[0].key == asked[-1].key


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_it_is_made_and_read_at_constant_memory(exporter: Exporter) -> None:
    other = await somebody(exporter, content=b"%PDF-1.4 " + secrets.token_bytes(8 * MEBIBYTE))
    await exporter.made(await exporter.asked(other.account.id))
    await exporter.stores.exports.stop(TEST, other.account.id, moment())
    content = b"%PDF-1.4 " + secrets.token_bytes(16 * MEBIBYTE)
    for number in range(4):
        await a_file(exporter, other.visit, content[:-number] if number else content, f"scan-{number}")
    del content
    export, most, before = await exporter.asked(other.account.id), 0, _resident()
    async for _ in exporter.maker.make(export.scope, export):
        most = max(most, _resident())
    whole = await exporter.find(export)
    assert whole.size > 70 * MEBIBYTE
    await exporter.maker.digest(whole, lambda _: None)
    most = max(most, _resident())
    assert most - before < 24 * MEBIBYTE


async def test_a_damaged_document_keeps_nothing_else_from_its_owner(exporter: Exporter) -> None:
    other = await somebody(exporter)
    second, _ = await a_file(exporter, other.visit, b"%PDF-1.4 second", "second")
    await exporter.files.erase(other.document.id, other.document.size)
    found = await exporter.opened(await exporter.asked(other.account.id))
    files = {one["name"]: one for one in found.json("manifest.json")["files"]}
    assert files[f"files/{other.document.id}/{_name(other)}"]["damaged"]
    assert found.contents[f"files/{second.id}/second.pdf"] == b"%PDF-1.4 second"


# Where it lies


async def _objects(exporter: Exporter, export: Export) -> dict[str, bytes]:
    store = exporter.objects._opened
    listed = await obstore.list(store, prefix=f"exports/{export.id}/").collect_async()
    return {one["path"]: bytes((await obstore.get_async(store, one["path"])).bytes()) for one in listed}


async def test_it_is_sealed_where_it_lies_and_gone_with_its_owners_key(exporter: Exporter) -> None:
    other = await somebody(exporter)
    made, _ = await exporter.made(await exporter.asked(other.account.id))
    lying = b"".join((await _objects(exporter, made)).values())
    assert len(lying) > made.size
    for canary in (*other.canaries, other.account.id):
        assert canary.encode() not in lying
    assert b"PK\x03\x04" not in lying[:2000]
    await exporter.stores.vault.destroy([other.account.id], DataClass.IDENTITY)
    assert (await exporter.find(made)).key is None


async def test_a_changed_or_exchanged_block_is_found(exporter: Exporter) -> None:
    other = await somebody(exporter, content=b"%PDF-1.4 " + secrets.token_bytes(3 * MEBIBYTE))
    made, _ = await exporter.made(await exporter.asked(other.account.id))
    objects, store = await _objects(exporter, made), exporter.objects._opened
    first, second = sorted(name for name in objects if not name.endswith("entries"))[:2]
    for name, content in ((first, objects[second]), (first, objects[first][:-1] + b"\0"), (first, b"")):
        await obstore.put_async(store, name, content)
        with pytest.raises(DamagedError):
            await exporter.maker.digest(made, lambda _: None)
    await obstore.delete_async(store, first)
    with pytest.raises(DamagedError):
        await exporter.maker.digest(made, lambda _: None)


async def test_any_range_of_it_can_be_read(exporter: Exporter) -> None:
    other = await somebody(exporter, content=b"%PDF-1.4 " + secrets.token_bytes(2 * MEBIBYTE))
    made, _ = await exporter.made(await exporter.asked(other.account.id))
    whole = await exporter.file(made)
    assert len(whole) == made.size
    for begin, end in ((0, 1), (MEBIBYTE - 1, MEBIBYTE + 1), (made.size - 1, made.size), (5, made.size - 5)):
        piece = b"".join([one async for one in exporter.objects.read(made, begin, end)])
        assert piece == whole[begin:end]


# What a practice takes along


async def test_a_practice_takes_along_what_is_its_own(exporter: Exporter, patient: Somebody) -> None:
    tenant = patient.visit.tenant_id
    export = await exporter.asked(tenant, ExportKind.TENANT, by="usr_tenant_admin")
    found = await exporter.opened(export)
    for collection in ("tenants", "clinics", "providers", "appointments", "consultations", "documents", "payments"):
        assert found.documents(collection), f"nothing of {collection}"
    for shape in shapes_of(ExportKind.TENANT):
        for one in found.documents(shape.collection):
            assert one.get("tenant_id", tenant) == tenant
    assert {one["tenant_id"] for one in found.documents("appointments")} == {tenant}
    assert found.contents[f"files/{patient.document.id}/{_name(patient)}"] == patient.content
    patients = [one["resource"] for one in found.json("fhir/bundle.json")["entry"]]
    names = {one["name"][0]["text"] for one in patients if one["resourceType"] == "Patient" and "name" in one}
    assert patient.canaries[1] in " ".join(names), "those who came"


async def test_a_practices_lists_are_cut_and_gone_on_with(exporter: Exporter, patient: Somebody) -> None:
    tenant = Tenant(patient.visit.tenant_id)
    for _ in range(5):
        await a_visit(exporter.stores, AppointmentState.CONFIRMED, subject=patient.account.id)
    [shape] = [one for one in shapes_of(ExportKind.TENANT) if one.collection == "appointments"]
    source = DataSource(exporter.stores.holdings, tenant, shape, Left(exporter.stores.deletions), most=2)
    seen: list[list[str]] = []
    async for member in source.members(Cursor(source=source.name)):
        content = b"".join([piece async for piece in member.content])
        seen.append([one["id"] for one in json.loads(content)["documents"]])
        assert member.documents == len(seen[-1])
    ids = [one for page in seen for one in page]
    assert len(ids) == len(set(ids)) >= 6
    assert all(len(page) == 2 for page in seen[:-1])
    # Begun again behind the second file, it goes on with the third.
    rest = source.members(Cursor(source=source.name, number=3, after=seen[1][-1]))
    third = await anext(rest)
    assert third.name == "data/appointments-3.json"
    assert [one["id"] for one in json.loads(b"".join([piece async for piece in third.content]))["documents"]] == seen[2]


async def test_whoever_is_forgotten_ends_their_export_and_those_they_are_among(
    exporter: Exporter,
) -> None:
    other = await somebody(exporter)
    own = await exporter.asked(other.account.id)
    practice = await exporter.asked(other.visit.tenant_id, ExportKind.TENANT, by="usr_tenant_admin")
    making = exporter.maker.make(own.scope, own)
    await anext(making)
    stopped = await exporter.stores.exports.stop(TEST, other.account.id, moment())
    assert {own.id, practice.id} <= set(stopped)
    last = [one async for one in making][-1]
    assert last.stopped
    for one in (own, practice):
        stands = await exporter.find(one)
        assert (stands.state, stands.is_open(moment())) == (ExportState.STOPPED, False)
        await exporter.maker.clear(one.id)
        await exporter.stores.exports.cleared(TEST, one.id, ExportState.STOPPED, moment())
        assert await _objects(exporter, one) == {}
        assert (await exporter.find(one)).key is None
    assert not set(await exporter.stores.exports.stop(TEST, other.account.id, moment())) & {own.id, practice.id}
