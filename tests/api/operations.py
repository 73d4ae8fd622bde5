"""The OpenAPI document as a list of operations, for tests that must cover every one of them, also those to come."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from adapters.settings import Settings
from api.app import ROUTERS, create_app
from api.applicants import RequiresOrApplicant
from api.guards import Requires, RequiresOrTicket
from models.identity import Permission

Json = dict[str, Any]

APPLICATION: Final = create_app(Settings())
DOCUMENT: Final[Json] = APPLICATION.openapi()
"""Made once for all modules: it takes two seconds, and every worker collects every test."""

SCHEMAS: Final[Json] = DOCUMENT["components"]["schemas"]


class Operation(NamedTuple):
    """One method of one path; `query` are the names of its query parameters, `media` is the type of its body."""

    id: str
    method: str
    path: str
    secured: bool
    query: tuple[str, ...]
    body: Json | None
    media: str | None

    @property
    def has_body(self) -> bool:
        """Whether it reads one."""
        return self.body is not None

    @property
    def path_parameters(self) -> tuple[str, ...]:
        """The names in its path."""
        return tuple(re.findall(r"{([a-z_]+)}", self.path))

    def path_with(self, ids: Mapping[str, str]) -> str:
        """The path with these ids; fails for a parameter that nobody has given one."""
        for name in self.path_parameters:
            assert name in ids, (
                f"{self.method} {self.path}: tell in Scene.ids which thing of the tenant {name} may name"
            )
        return self.path.format(**ids)


def _operations() -> Iterator[Operation]:
    for path, methods in DOCUMENT["paths"].items():
        for method, one in methods.items():
            query = tuple(each["name"] for each in one.get("parameters", ()) if each["in"] == "query")
            content = one.get("requestBody", {}).get("content", {})
            # Bytes are no body in this sense: there are no fields in them.
            media = next((name for name, each in content.items() if each["schema"].get("format") != "binary"), None)
            body = None if media is None else content[media]["schema"]
            yield Operation(one["operationId"], method.upper(), path, bool(one.get("security")), query, body, media)


OPERATIONS: Final = list(_operations())


class Field(NamedTuple):
    """A place in a body where a value stands: its dotted path, `[]` for a list's items, and its schema."""

    path: str
    schema: Json

    @property
    def name(self) -> str:
        """The last name of the path."""
        return next((part for part in reversed(self.path.split(".")) if part != "[]"), "")

    @property
    def is_id(self) -> bool:
        """Whether it names another thing."""
        return re.search(r"(^|_)ids?$", self.name) is not None


def fields(schema: Json, path: str = "", seen: tuple[str, ...] = ()) -> Iterator[Field]:
    """Every place in a body of that schema that holds a plain value."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name not in seen:
            yield from fields(SCHEMAS[name], path, (*seen, name))
        return
    inner = [one for key in ("anyOf", "allOf", "oneOf") for one in schema.get(key, ())]
    for one in inner:
        yield from fields(one, path, seen)
    if "items" in schema:
        yield from fields(schema["items"], f"{path}.[]".lstrip("."), seen)
    properties: Json = schema.get("properties", {})
    for name, one in properties.items():
        yield from fields(one, f"{path}.{name}".lstrip("."), seen)
    if schema.get("type") not in {"object", "array", "null", None} and not inner:
        yield Field(path, schema)


def _permissions() -> Iterator[tuple[str, Permission]]:
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute):
                for inner in (dependency for one in _tree(route.dependant) for dependency in one.dependencies):
                    if isinstance(inner.call, Requires | RequiresOrTicket | RequiresOrApplicant):
                        yield route.name, inner.call.permission


def _tree(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for inner in dependant.dependencies:
        yield from _tree(inner)


PERMISSION_OF: Final = dict(_permissions())
"""Operation id → the permission that it needs."""
