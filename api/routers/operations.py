"""What operators, probes and developers ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, Literal

from fastapi import Path, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from api import docs
from api.guards import GUARD_CODES, PUBLIC, MayOperate
from api.problems import problem_responses
from api.routing import Router
from api.schemas.operations import Alive, KeySetView, Readiness, VerificationKey
from api.services import Wired
from models.errors import Code, UnavailableError
from models.operations import WorkflowView

CHECK_SECONDS: Final = 2.0
SPEEDS_UP_ONLY: Final = frozenset({"redis"})
"""Servers without which this process serves, only slower."""

router = Router(tags=["operations"])


@router.get("/livez", dependencies=[PUBLIC], responses=problem_responses(Code.INVALID))
async def livez() -> Alive:
    """The process answers; nothing outside is asked."""
    return Alive()


@router.get(
    "/readyz",
    dependencies=[PUBLIC],
    response_model=Readiness,
    responses={
        503: {"model": Readiness, "description": "MongoDB, Temporal or the workers do not answer."},
        **problem_responses(Code.INVALID),
    },
)
async def readyz(services: Wired) -> Response:
    """Whether this process can serve: MongoDB, Temporal and its workers are asked; Redis is only reported."""
    outcomes = await asyncio.gather(*(_passes(check) for check in services.checks.values()))
    checks: dict[str, Literal["ok", "failed"]] = {
        name: "ok" if passed else "failed" for name, passed in zip(services.checks, outcomes, strict=True)
    }
    ready = all(state == "ok" for name, state in checks.items() if name not in SPEEDS_UP_ONLY)
    answer = Readiness(status="ready" if ready else "unready", checks=checks)
    return Response(answer.model_dump_json(), 200 if ready else 503, media_type="application/json")


async def _passes(check: Callable[[], Awaitable[bool]]) -> bool:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check()
    except (UnavailableError, TimeoutError):
        return False


@router.get(
    "/metrics",
    dependencies=[PUBLIC],
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problem_responses(Code.INVALID)},
)
async def metrics(services: Wired) -> Response:
    """What this process counts, in Prometheus' format."""
    return Response(services.metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/.well-known/jwks.json", dependencies=[PUBLIC], responses=problem_responses(Code.INVALID))
async def jwks(services: Wired) -> KeySetView:
    """The keys that verify our access tokens."""
    return KeySetView(keys=[VerificationKey(kid=key.kid, x=key.x) for key in services.verifier.published])


@router.get("/v1/operations/workflows/{workflow_id}", responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND))
async def workflow(
    request: Request,
    workflow_id: Annotated[str, Path(max_length=200, description="As in the Temporal UI, like `booking:apt_…`.")],
    caller: MayOperate,
    services: Wired,
) -> WorkflowView:
    """What a workflow waits for, until when, and what it has done; with its link in the Temporal UI."""
    found = await services.gateway.workflow(workflow_id)
    await services.audit.act(request, caller, found.id)
    return found


@router.get("/openapi.json", dependencies=[PUBLIC], include_in_schema=False)
async def openapi(request: Request) -> JSONResponse:
    """The OpenAPI document of this API."""
    return JSONResponse(request.app.openapi())


@router.get("/docs", dependencies=[PUBLIC], include_in_schema=False)
async def documentation() -> HTMLResponse:
    """The OpenAPI document for people."""
    return docs.page()


@router.get("/docs/{name}", dependencies=[PUBLIC], include_in_schema=False)
async def documentation_asset(name: docs.Asset) -> Response:
    """What that page is made of."""
    return docs.asset(name)
