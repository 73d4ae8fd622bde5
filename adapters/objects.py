"""Removing folders of object storage for good: every object in them, and where a bucket keeps versions, each of those.

The store's client of `adapters.storage` knows of no versions, so a bucket is asked for them by the AWS client.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import boto3
import obstore
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from adapters.storage import answered, each, open_store
from models.errors import UnavailableError

_CONFIG: Final = Config(connect_timeout=2, read_timeout=10, retries={"max_attempts": 2})
PIECE: Final = 1024 * 1024
_UNKNOWN: Final = (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)


class Objects:
    """The objects of one installation; without a store there are none."""

    def __init__(self, url: str | None) -> None:
        """`url` is the setting `STORAGE_URL`."""
        self._store = None if url is None else open_store(url)
        self._bucket = None if url is None or urlsplit(url).scheme != "s3" else _Bucket(url)

    async def all(self) -> AsyncIterator[tuple[str, bytes]]:
        """Every object as it lies there: `storage <name>` with its name, then with each piece of its bytes.

        Raises `UnavailableError`.
        """
        if self._store is None:
            return
        async for listed in each(obstore.list(self._store)):
            for name in (one["path"] for one in listed):
                place = f"storage {name}"
                yield place, f"{name}\n".encode()
                try:
                    found = await answered(obstore.get_async(self._store, name))
                    async for piece in each(found.stream(min_chunk_size=PIECE)):
                        yield place, bytes(piece)
                except FileNotFoundError:
                    continue  # removed since it was listed

    async def folders(self, within: str) -> set[str]:
        """The names of the folders in a folder, whose name ends in `/`. Raises `UnavailableError`."""
        if self._store is None:
            return set()
        listed = each(obstore.list(self._store, prefix=within))
        return {one["path"].removeprefix(within).partition("/")[0] async for some in listed for one in some}

    async def count(self, folder: str) -> int:
        """How many objects are in a folder, whose name ends in `/`. Raises as `remove` does."""
        return len(await self._within(folder))

    async def remove(self, folder: str) -> int:
        """Remove whatever is in a folder, whose name ends in `/`; how many objects that were.

        Raises `UnavailableError`, and `ValueError` for what is no folder within the store.
        """
        paths = await self._within(folder)
        if self._store is None:
            return 0
        removed = 0
        for path in paths:
            try:
                await answered(obstore.delete_async(self._store, path))
            except FileNotFoundError:
                continue
            removed += 1
        if self._bucket is not None:
            await asyncio.to_thread(self._bucket.remove_versions, folder)
        return removed

    async def _within(self, folder: str) -> list[str]:
        if len(folder) < len("x/") or not folder.endswith("/"):
            msg = "not a folder within the store"
            raise ValueError(msg)
        if self._store is None:
            return []
        return [one["path"] for one in await answered(obstore.list(self._store, prefix=folder).collect_async())]


class _Bucket:
    """A bucket whose older versions can be reached; keys and endpoint come from the AWS environment."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._name = parts.netloc
        self._prefix = f"{parts.path.strip('/')}/" if parts.path.strip("/") else ""

    def remove_versions(self, folder: str) -> None:
        """Raises `UnavailableError`."""
        environment = os.environ
        # The client is made of descriptions at run time and has no types of its own.
        client: Any = boto3.client(
            "s3",
            endpoint_url=environment.get("AWS_ENDPOINT_URL") or environment.get("AWS_ENDPOINT"),
            region_name=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"),
            config=_CONFIG,
        )
        try:
            self._remove(client, f"{self._prefix}{folder}")
        except ClientError as error:
            # A store that knows no versions keeps none.
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in _UNKNOWN:
                raise UnavailableError("the object storage does not answer") from error
        except BotoCoreError as error:
            raise UnavailableError("the object storage does not answer") from error
        finally:
            client.close()

    def _remove(self, client: Any, prefix: str) -> None:  # noqa: ANN401  as above
        pages = client.get_paginator("list_object_versions").paginate(Bucket=self._name, Prefix=prefix)
        for page in pages:
            for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                client.delete_object(Bucket=self._name, Key=one["Key"], VersionId=one["VersionId"])
