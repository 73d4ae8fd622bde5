"""What an export says about itself: its schema, a page to begin with, and the manifest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from importlib.resources import files
from typing import Final

from jinja2 import Environment, StrictUndefined

from adapters.export.sources import Member, as_json, plain
from adapters.export.zipping import Entry
from models.export_shapes import schema_of, shapes_of
from models.exports import FORMAT, FORMAT_VERSION, Cursor, Export
from models.files import in_one_piece

_PAGE: Final = (files("adapters") / "export" / "index.html").read_text(encoding="utf-8")


class OwnPages:
    """Comes last, since it tells of everything before."""

    name = "pages"

    def __init__(self, export: Export, entries: Sequence[Entry]) -> None:
        """`entries` grows while the export is packed."""
        self._export = export
        self._entries = entries
        environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        self._page = environment.from_string(_PAGE)

    async def members(self, cursor: Cursor) -> AsyncIterator[Member]:
        """Three files, each written once those before it are packed."""
        pages = (("schema.json", self._schema), ("index.html", self._index), ("manifest.json", self._manifest))
        for name, content in pages[cursor.number - 1 :]:
            yield Member(name, in_one_piece(content()))

    def _schema(self) -> bytes:
        return as_json(schema_of(self._export.kind))

    def _index(self) -> bytes:
        by_name = {one.name: one for one in self._entries}
        titles = {f"data/{one.collection}.json": one.title for one in shapes_of(self._export.kind)}
        data = [(by_name[name], title) for name, title in titles.items() if name in by_name]
        known = {one.name for one, _ in data}
        return self._page.render(
            export=self._export,
            data=data,
            bundles=[one for one in self._entries if one.name.startswith("fhir/")],
            more=[one for one in self._entries if one.name.startswith("data/") and one.name not in known],
            documents=[one for one in self._entries if one.name.startswith("files/")],
        ).encode()

    def _manifest(self) -> bytes:
        export = self._export
        told: dict[str, object] = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "export_id": export.id,
            "kind": export.kind,
            "about": export.about,
            "requested_at": plain(export.requested_at),
            "files": [_file(one) for one in self._entries],
        }
        return as_json(told)


def _file(entry: Entry) -> dict[str, object]:
    told: dict[str, object] = {"name": entry.name, "size": entry.size, "sha256": entry.sha256}
    if entry.documents is not None:
        told["documents"] = entry.documents
    if entry.damaged:
        told["damaged"] = True
    return told
