"""What every route must have: a guard or the word public, its codes, and a place in the committed document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from jsonschema import Draft202012Validator
from starlette.routing import Match

from adapters.settings import Settings
from api.app import ROUTERS, create_app
from api.applicants import RequiresOrApplicant
from api.guards import Requires, RequiresOrTicket, preflight, public
from models.errors import ERRORS, Code
from models.identity import Permission
from tests.api.operations import APPLICATION, DOCUMENT
from tools.documents import DOCS, PAGES

Json = dict[str, Any]
ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
OPERATIONS = [
    (method, path, operation) for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()
]
OPERATION_IDS = [operation["operationId"] for _, _, operation in OPERATIONS]
ALWAYS_PUBLIC = {
    "/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/.well-known/jwks.json",
    "/v1/clinics/by-slug/{slug}", "/v1/providers", "/v1/providers/{provider_id}",
    "/v1/auth/login", "/v1/auth/refresh", "/v1/auth/otp", "/v1/auth/otp/verify", "/v1/auth/password/forgot",
    "/v1/auth/password/reset", "/v1/invites/accept",
    "POST /v1/onboarding/applications", "/v1/onboarding/applications/{application_id}/verify-email",
    "/v1/onboarding/applications/{application_id}/link",
    "/v1/providers/{provider_id}/slots", "/v1/providers/{provider_id}/reviews",
    "/v1/webhooks/razorpay", "/v1/webhooks/twilio/status", "/v1/webhooks/twilio/inbound",
    "/v1/links/{token}/unsubscribe", "/v1/links/{token}/review", "/v1/links/{token}/summary",
    "/v1/links/{token}", "/v1/links/{token}/confirm", "/v1/links/{token}/cancel", "/v1/links/{token}/reschedule",
    "/v1/documents/{document_id}/content", "/v1/exports/{export_id}/content",
    "/codec/sign-in", "/codec/sign-out", "/docs/{name}",
}  # fmt: skip
"""Everything that anybody may call; a route is added here by a decision, never by accident."""


OPEN = (public, preflight)
GUARDS = (Requires, RequiresOrTicket, RequiresOrApplicant)


def _calls(dependant: Dependant) -> Iterator[object]:
    for inner in dependant.dependencies:
        yield inner.call
        yield from _calls(inner)


def _guards(route: APIRoute) -> list[object]:
    guards = [one for one in _calls(route.dependant) if isinstance(one, GUARDS)]
    return [*guards, *(one for one in _calls(route.dependant) if one in OPEN)]


def test_every_route_is_known_here() -> None:
    application = create_app(Settings())
    included = [route for route in application.routes if not hasattr(route, "original_router")]
    assert included == [], "a route that no router of ours holds would escape these tests"
    assert len(ROUTES) > 20


@pytest.mark.parametrize("route", ROUTES, ids=[f"{sorted(route.methods or ())} {route.path}" for route in ROUTES])
def test_every_route_has_one_guard_or_says_that_it_is_public(route: APIRoute) -> None:
    guards = _guards(route)
    assert len(guards) == 1, f"{route.path} has {len(guards)} guards"
    named = {route.path, *(f"{method} {route.path}" for method in route.methods or ())}
    expected_public = bool(named & ALWAYS_PUBLIC) or "OPTIONS" in (route.methods or ())
    assert (guards[0] in OPEN) is expected_public


ASKED_BY_A_BODY: Final = {Permission.APPOINTMENT_OVERRIDE}
"""What a request needs only where its body asks for it."""


def test_every_permission_guards_some_route() -> None:
    guards = [guard for route in ROUTES for guard in _guards(route)]
    used = {guard.permission for guard in guards if isinstance(guard, GUARDS)}
    assert used == set(Permission) - ASKED_BY_A_BODY


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=OPERATION_IDS)
def test_every_operation_declares_its_refusals_from_the_table(method: str, path: str, operation: Json) -> None:
    declared = _declared_codes(operation)
    for status, codes in declared.items():
        assert all(ERRORS[code].status == status for code in codes)
    listed = {code for codes in declared.values() for code in codes}
    if operation.get("security"):
        assert {Code.TOKEN_MISSING, Code.TOKEN_INVALID, Code.TOKEN_EXPIRED, Code.FORBIDDEN} <= listed
    if "requestBody" in operation:
        assert {Code.MALFORMED, Code.TOO_LARGE, Code.INVALID} <= listed
    if "{" in path:
        assert Code.NOT_FOUND in listed
    assert Code.INVALID in listed, f"{method} {path} refuses unknown query parameters"


def _declared_codes(operation: Json) -> dict[int, list[Code]]:
    found = {}
    for status, response in operation["responses"].items():
        content = response.get("content", {}).get("application/problem+json")
        if content is not None:
            [_, named] = content["schema"]["allOf"]
            found[int(status)] = [Code(one) for one in named["properties"]["code"]["enum"]]
    return found


def test_every_code_is_declared_by_some_operation_or_belongs_to_all() -> None:
    declared = {
        code for _, _, operation in OPERATIONS for codes in _declared_codes(operation).values() for code in codes
    }
    assert set(Code) - declared == {
        Code.METHOD_NOT_ALLOWED,
        Code.INTERNAL,
        Code.GATEWAY_UNAVAILABLE,
    }


def test_what_is_asked_through_a_host_declares_that_it_may_be_nobodys() -> None:
    asked = [(path, operation) for _, path, operation in OPERATIONS if path.startswith("/v1/")]
    assert asked
    missing = [path for path, one in asked if Code.NOT_FOUND not in json.dumps(one["responses"].get("404"))]
    assert missing == []


def test_operation_ids_are_unique_and_plain() -> None:
    assert len(set(OPERATION_IDS)) == len(OPERATION_IDS)
    assert all(name.isidentifier() for name in OPERATION_IDS)


def test_every_reference_of_the_document_leads_somewhere() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    text = json.dumps(DOCUMENT)
    for reference in {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}:
        assert reference in schemas
    for name, schema in schemas.items():
        Draft202012Validator.check_schema(schema)
        assert name not in {"HTTPValidationError", "ValidationError"}


def test_request_bodies_forbid_unknown_fields() -> None:
    for _, path, operation in OPERATIONS:
        body = operation.get("requestBody")
        if body is None or path.startswith("/codec/") or "application/json" not in body["content"]:
            continue
        schema = body["content"]["application/json"]["schema"]
        # A body that may be left out is one of two.
        schema = next(one for one in schema.get("anyOf", [schema]) if one.get("type") != "null")
        reference = schema.get("items", schema)["$ref"].rpartition("/")[2]
        assert DOCUMENT["components"]["schemas"][reference]["additionalProperties"] is False, path


@pytest.mark.parametrize("name", PAGES)
def test_a_committed_page_is_what_the_code_says(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), "run `make openapi` and commit the change"


def test_the_pages_lie_in_this_repository() -> None:
    assert Path(__file__).parents[2] / "docs" == DOCS


def _asked(path: str, method: str, root: str = "") -> dict[str, Any]:
    return {"type": "http", "method": method, "path": f"{root}{path}", "root_path": root, "headers": []}


@pytest.mark.parametrize("root", ["", "/behind/a/proxy"])
def test_every_route_is_found_by_its_path(root: str) -> None:
    asked = [
        _asked(re.sub(r"\{[^}]*\}", "x", route.path), method, root)
        for route in ROUTES
        for method in route.methods or ()
    ]
    served = [scope for scope in asked if any(one.matches(scope)[0] is Match.FULL for one in APPLICATION.routes)]
    assert served == asked


def test_only_the_routers_of_a_path_look_at_their_routes() -> None:
    met = [one for one in APPLICATION.routes if one.matches(_asked("/livez", "PATCH"))[0] is not Match.NONE]
    assert len(met) == 1
    assert all(one.matches(_asked("/v2/livez", "GET"))[0] is Match.NONE for one in APPLICATION.routes)
