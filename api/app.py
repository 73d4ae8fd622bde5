"""The HTTP application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware

from adapters.settings import Settings
from api import openapi, problems
from api.edge import Edge
from api.metrics import Metrics
from api.problem_pages import ProblemPages
from api.routers import (
    account,
    after_visit,
    availability,
    booking,
    codec,
    compliance,
    consents,
    consultation,
    day_list,
    deletions,
    documents,
    exports,
    holds,
    identity,
    links,
    messages,
    messaging,
    onboarding,
    operations,
    payments,
    providers,
    reviews,
    rights,
    staff,
    staff_tasks,
    templates,
    tenancy,
    unsubscribe,
    uploads,
    visits,
    walk_ins,
)
from api.sites import Sites, readable
from api.wiring import wired

ROUTERS = (
    identity.router,
    account.router,
    consents.router,
    compliance.router,
    exports.router,
    staff.router,
    staff_tasks.router,
    providers.router,
    availability.router,
    booking.router,
    day_list.router,
    visits.router,
    reviews.router,
    rights.router,
    deletions.router,
    holds.router,
    walk_ins.router,
    payments.router,
    consultation.router,
    documents.router,
    uploads.router,
    messaging.router,
    links.router,
    after_visit.router,
    messages.router,
    tenancy.router,
    templates.router,
    unsubscribe.router,
    onboarding.router,
    operations.router,
    codec.router,
)


class Application(FastAPI):
    """FastAPI with our OpenAPI document."""

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        return openapi.document(self)


def create_app(settings: Settings) -> FastAPI:
    """The application; it connects to its servers when it starts, not before."""
    metrics, page = Metrics(), ProblemPages().answer
    app = Application(
        title="Illajwala VisitNow",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        lifespan=partial(_lifespan, settings, metrics),
        middleware=[Middleware(Edge, metrics=metrics, page=page, last_word=readable), Middleware(Sites)],
        # Traces are wired by the processes themselves; the framework's would record bodies and exceptions' texts.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    problems.install(app, page)
    for router in ROUTERS:
        app.include_router(router)
    return app


@asynccontextmanager
async def _lifespan(settings: Settings, metrics: Metrics, app: FastAPI) -> AsyncIterator[None]:
    async with wired(settings, metrics) as services:
        app.state.services = services
        yield
