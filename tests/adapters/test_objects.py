"""Folders of object storage are emptied for good, also where a bucket keeps what was overwritten and deleted."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import boto3
import obstore
import pytest

from adapters.objects import Objects
from adapters.storage import open_store
from models.errors import UnavailableError
from sandbox.servers.object_storage import ObjectStorage
from sandbox.servers.processes import free_port
from sandbox.servers.provision import Provisioner

PREFIX = "some/prefix"


@pytest.fixture(scope="module", params=["file", pytest.param("s3", marks=pytest.mark.s3)])
def storage_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A folder, and a bucket that keeps versions."""
    folder = tmp_path_factory.mktemp("objects")
    if request.param == "file":
        yield folder.as_uri()
        return
    server = ObjectStorage(Provisioner().object_storage(), folder / "server", bucket="visitnow", versions=True)
    server.start()
    with pytest.MonkeyPatch.context() as environment:
        for name, value in server.environment.items():
            environment.setenv(name, value)
        status = {"Status": "Enabled"}
        boto3.client("s3").put_bucket_versioning(Bucket="visitnow", VersioningConfiguration=status)
        yield f"s3://visitnow/{PREFIX}"
    server.process.kill()


def _everything(url: str) -> list[str]:
    """Whatever can still be had, older versions and markers included."""
    if url.startswith("s3:"):
        found = boto3.client("s3").list_object_versions(Bucket="visitnow", Prefix=PREFIX)
        return sorted(one["Key"] for kind in ("Versions", "DeleteMarkers") for one in found.get(kind, ()))
    return sorted(one["path"] for one in obstore.list(open_store(url)).collect())


async def test_a_folder_is_emptied_and_its_neighbours_stay(storage_url: str) -> None:
    store, folder = open_store(storage_url), f"documents/doc_{secrets.token_hex(4)}"
    for name in (f"{folder}/0", f"{folder}/1", f"{folder}0/0"):
        await obstore.put_async(store, name, b"first")
        await obstore.put_async(store, name, b"second")
    await obstore.delete_async(store, f"{folder}/1")
    objects = Objects(storage_url)
    assert await objects.remove(f"{folder}/") == 1
    left = _everything(storage_url)
    assert left
    assert all(f"{folder}0/" in one for one in left)
    assert await objects.remove(f"{folder}/") == 0


async def test_without_a_store_there_is_nothing_to_remove() -> None:
    assert await Objects(None).remove("documents/doc_1/") == 0


async def test_a_store_that_is_away_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}",
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UnavailableError):
        await Objects("s3://visitnow").remove("documents/doc_1/")
