"""The tenants' own words: a document per version, never changed; the one with the highest number is what is said."""

from __future__ import annotations

from typing import Final

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.schema import Declared
from adapters.mongo.scopes import reason_of, require, scoped
from models.errors import Code, VisitNowError
from models.identity import Scope
from models.messaging import Template
from models.templates import OwnTemplate

_NEWEST: Final = [("number", DESCENDING)]

DECLARED: Final = Declared(
    "message_templates",
    (
        IndexModel(
            [("tenant_id", ASCENDING), ("key", ASCENDING), ("language", ASCENDING), ("number", DESCENDING)],
            name="newest",
            unique=True,
        ),
    ),
)


class MongoTemplates:
    """Implements `models.templates.Templates` on `message_templates`; `number` is the words' version."""

    def __init__(self, database: Database) -> None:
        """The collection of that database."""
        self._templates: Collection = database["message_templates"]

    @answering
    async def newest(self, scope: Scope, tenant_id: str, key: Template, language: str) -> OwnTemplate | None:
        """One read by an index."""
        found = await self._templates.find_one(
            scoped(scope, {"tenant_id": tenant_id, "key": key, "language": language}),
            sort=_NEWEST,
            comment=reason_of(scope),
        )
        return None if found is None else _template(found)

    @answering
    async def all_newest(self, scope: Scope, tenant_id: str) -> list[OwnTemplate]:
        """One read by an index, in the order of keys and languages."""
        found = await self._templates.find(
            scoped(scope, {"tenant_id": tenant_id}),
            sort=[("key", ASCENDING), ("language", ASCENDING), ("number", DESCENDING)],
            comment=reason_of(scope),
        ).to_list(None)
        newest: dict[tuple[object, object], Document] = {}
        for one in found:
            newest.setdefault((one["key"], one["language"]), one)
        return [_template(one) for one in newest.values()]

    @answering
    async def add(self, scope: Scope, template: OwnTemplate) -> None:
        """One insert under a unique index. Raises `stale`."""
        document: Document = {
            "_id": f"{template.tenant_id}:{template.key}:{template.language}:{template.version}",
            **template.model_dump(exclude={"version"}),
            "number": template.version,
            "version": 1,
            "created_at": template.changed_at,
            "updated_at": template.changed_at,
        }
        require(scope, document)
        try:
            await self._templates.insert_one(document, comment=reason_of(scope))
        except DuplicateKeyError as error:
            raise VisitNowError(Code.STALE) from error


def _template(found: Document) -> OwnTemplate:
    known = {name: found[name] for name in OwnTemplate.model_fields if name in found}
    return OwnTemplate.model_validate({**known, "version": found["number"]})
