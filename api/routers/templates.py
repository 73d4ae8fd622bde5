"""The words of messages: a tenant's own in place of everybody's."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Path, Request, Response

from api.editing import EDIT_CODES, ETAG_HEADER, Replaces, put_etag
from api.guards import GUARD_CODES, MayManageTemplates, MayReadTemplates
from api.problems import problem_responses
from api.routing import Router
from api.schemas.messaging import PreviewInput, PreviewView, TemplateInput, TemplateList, TemplateView
from api.services import Wired
from models.errors import Code, not_found
from models.messaging import Template
from models.notice_kinds import KINDS

_BODY: Final = (Code.MALFORMED, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)

TemplateKey = Annotated[str, Path(description="What it is about, like `appointment_confirmed`.")]

router = Router(prefix="/v1/message-templates", tags=["messaging"])


@router.get("", responses=problem_responses(*GUARD_CODES))
async def templates(caller: MayReadTemplates, services: Wired) -> TemplateList:
    """Every template in every language that there are words in; `version` is the ETag of each."""
    return TemplateList(items=await services.templates.all(caller))


@router.put(
    "/{key}", responses={200: ETAG_HEADER, **problem_responses(*GUARD_CODES, *_BODY, *EDIT_CODES, Code.NOT_FOUND)}
)
async def put_template(
    *,
    request: Request,
    key: TemplateKey,
    caller: MayManageTemplates,
    replaces: Replaces,
    body: TemplateInput,
    services: Wired,
    response: Response,
) -> TemplateView:
    """Say it in words of your own from now on; `If-Match: "0"` says that there are none yet in that language.

    Versions before it are kept. A variable that the template does not have is refused, as is what loops or computes.
    """
    template = _known(key)
    await services.audit.act(request, caller, f"template:{template}:{body.language}:{replaces + 1}")
    view = await services.templates.put(caller, template, body, replaces)
    put_etag(response, view.version)
    return view


@router.post("/{key}/preview", responses=problem_responses(*GUARD_CODES, *_BODY, Code.NOT_FOUND))
async def preview_template(
    key: TemplateKey, caller: MayReadTemplates, body: PreviewInput, services: Wired
) -> PreviewView:
    """How words would look, filled with the example of a visit; nothing is sent and nothing kept."""
    return await services.templates.preview(caller, _known(key), body.language, body.words)


def _known(key: str) -> Template:
    try:
        template = Template(key)
    except ValueError as error:
        raise not_found() from error
    if template not in KINDS:
        raise not_found()
    return template
