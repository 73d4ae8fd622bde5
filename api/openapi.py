"""The OpenAPI document: made from the routes, with problems as the only form of a refusal."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.problems import FieldProblem, Problem, problem_responses
from api.schemas.documents import DocumentFromUpload
from api.sites import PREFIX
from models.errors import Code

VERSION: Final = "1.0.0"
DESCRIPTION: Final = """
Find a verified doctor, book a visit, pay, come. Every refusal is an RFC 9457 problem whose `code` is one of a published
table (docs/errors.md). Times are RFC 3339 in UTC, beside the clinic's IANA zone; money is in integer paise.
""".strip()


_HOSTLESS: Final = problem_responses(Code.NOT_FOUND)


def _declare_hosts(paths: dict[str, Any]) -> None:
    """Whatever is asked through a host that is nobody's is a 404, before any route is looked for."""
    for path, operations in paths.items():
        for operation in operations.values() if path.startswith(PREFIX) else ():
            for status, declared in _HOSTLESS.items():
                operation["responses"].setdefault(str(status), declared)


def document(app: FastAPI) -> dict[str, Any]:
    """The whole document; made once."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=VERSION, description=DESCRIPTION, routes=app.routes)
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        # The framework's own form of a refusal, which is never sent.
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(problem.pop("$defs", {}))
        schemas["Problem"] = problem
        schemas[FieldProblem.__name__] = FieldProblem.model_json_schema()
        # A route that reads two kinds of bodies names them by itself.
        upload = DocumentFromUpload.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(upload.pop("$defs", {}))
        schemas[DocumentFromUpload.__name__] = upload
        made["components"]["schemas"] = dict(sorted(schemas.items()))
        _declare_hosts(made["paths"])
        app.openapi_schema = made
    return app.openapi_schema
