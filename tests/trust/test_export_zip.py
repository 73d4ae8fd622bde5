"""The archive: readable by everybody, and the same whether it was made at one go or gone on with."""

from __future__ import annotations

import io
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from zipfile import ZipFile

from hypothesis import given
from hypothesis import strategies as st

from adapters.export.zipping import ENTRIES, Entry, Packing

AT = datetime(2031, 3, 3, 4, 30, tzinfo=UTC)
BLOCK = 1000


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 700):
        yield content[start : start + 700]


async def _packed(packing: Packing, files: dict[str, bytes]) -> bytes:
    found = bytearray()
    for name, content in files.items():
        async for block in packing.add(name, _pieces(content)):
            assert len(block) == BLOCK
            found += block
    return bytes(found)


def _read(file: bytes) -> dict[str, bytes]:
    with ZipFile(io.BytesIO(file)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


_FILES = st.dictionaries(
    st.text("abcö/", min_size=1, max_size=20).map(lambda name: f"f{name}"), st.binary(max_size=5000), max_size=6
)


@given(_FILES, _FILES)
async def test_it_is_gone_on_with_behind_any_of_its_files(before: dict[str, bytes], after: dict[str, bytes]) -> None:
    first = Packing(AT, BLOCK)
    start = await _packed(first, before) + b"".join(first.rest())
    kept: tuple[Entry, ...] = ENTRIES.validate_json(ENTRIES.dump_json(tuple(first.entries)))
    second = Packing(AT, BLOCK, kept, len(start))
    more = {f"second/{name}": content for name, content in after.items()}
    end = await _packed(second, more) + b"".join(second.finish())
    assert _read(start + end) == {**before, **more}
    whole = Packing(AT, BLOCK)
    at_one_go = await _packed(whole, {**before, **more}) + b"".join(whole.finish())
    assert at_one_go == start + end
    assert whole.entries == second.entries


async def test_nothing_gathers_in_it() -> None:
    packing, content, most = Packing(AT, BLOCK), secrets.token_bytes(200_000), 0
    async for _ in packing.add("noise", _pieces(content)):
        most = max(most, len(packing._sink._buffer))
    assert most < 100_000, "what was packed is given away while more comes"
