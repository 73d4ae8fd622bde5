"""Whatever the OpenAPI document allows, and much that it does not: every answer is one that the document declares."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cli.accounts import ACCOUNTS, mint
from tests.api.conftest import Api
from tests.api.operations import DOCUMENT

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")

EXAMPLES: Final = 20
SCHEMA: Final = schemathesis.openapi.from_dict(deepcopy(DOCUMENT))
OPERATIONS: Final[dict[str, APIOperation[Any, Any, Any, Any]]] = {
    result.ok().definition.raw["operationId"]: result.ok()
    for result in SCHEMA.get_all_operations()
    if isinstance(result, Ok)
}
SPEAKERS: Final = {
    "refund": "staff", "write_summary": "doctor", "workflow": "admin", "encode": "admin", "decode": "admin",
    "audit": "tenant_admin",
    "settings": "tenant_admin", "put_settings": "tenant_admin", "settings_versions": "tenant_admin",
    "published_services": "doctor", "publish_services": "doctor",
    "published_availability": "doctor", "publish_availability": "doctor",
    "invite_staff": "tenant_admin", "remove_staff": "tenant_admin", "staff": "staff",
    "enrol_totp": "doctor", "confirm_totp": "staff", "drop_totp": "staff",
    "leaves": "doctor", "end_leave": "doctor",
}  # fmt: skip
"""Who asks, where it is not the patient."""

CONFORMS: Final = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

NOT_FOR_US: Final = {405}
"""Methods that a generator makes up: the document lists those that are offered."""


def _fuzz(api: Api, operation: APIOperation[Any, Any, Any, Any], account: str) -> None:
    token = mint(api.settings, ACCOUNTS[account])

    @given(case=operation.as_strategy())
    @settings(max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    def answers(case: Case[Any]) -> None:
        response = case.call(base_url=api.url, headers={"Authorization": f"Bearer {token}"}, timeout=30)
        assert response.status_code < 500 or operation.path == "/readyz", response.text
        if response.status_code not in NOT_FOR_US:
            case.validate_response(response, checks=CONFORMS)

    answers()


@pytest.mark.parametrize("name", OPERATIONS)
async def test_every_answer_is_declared(api: Api, name: str) -> None:
    """The generator blocks, so it runs beside the loop that serves."""
    await asyncio.to_thread(_fuzz, api, OPERATIONS[name], SPEAKERS.get(name, "patient"))
