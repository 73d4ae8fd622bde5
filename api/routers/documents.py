"""Documents of a visit: added by the patient or the clinic, read by short-lived links."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import Depends, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, StreamingResponse
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from api.files import File, file_responses, ranged
from api.filing import Told, check_addable
from api.guards import GUARD_CODES, PUBLIC, MayAddDocument, MayReadRecord
from api.problems import invalid, is_json, problem_responses
from api.records import AppointmentId, check_id, found
from api.routing import Router
from api.schemas.documents import DocumentFromUpload, DocumentPage, DocumentView
from api.services import Services, Wired
from models.booking import Appointment
from models.compliance import AuditAction
from models.documents import PIECE_BYTES, Document, DocumentKind
from models.documents_ports import DamagedError
from models.errors import Code, VisitNowError, not_found
from models.files import MAX_DOCUMENT_BYTES
from models.identity import Principal, scope_of

_BODY: Final = (Code.MALFORMED, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)
_ONE: Final = (*GUARD_CODES, Code.NOT_FOUND)
_MAX_FIELDS: Final = 8
_HEX: Final = 64

DocumentId = Annotated[str, Path(max_length=100, description="`doc_` and 26 characters.")]

router = Router(prefix="/v1", tags=["documents"])


async def _json_body(request: Request) -> DocumentFromUpload | None:
    """The body where it is JSON; None for a form, which is read once it is known that it is welcome."""
    if not is_json(request.headers.get("content-type", "")):
        return None
    try:
        return DocumentFromUpload.model_validate_json(await request.body())
    except ValidationError as error:
        problems = [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)]
        raise RequestValidationError(problems) from error


_FORM: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["file", "kind"],
    "properties": {
        "file": {"type": "string", "format": "binary", "description": "A PDF, PNG or JPEG of at most 10 MiB."},
        "kind": {"type": "string", "enum": [one.value for one in DocumentKind]},
        "sha256": {"type": "string", "description": "Where given, a file that arrived otherwise is refused."},
    },
}


@router.post(
    "/appointments/{appointment_id}/documents",
    status_code=201,
    responses={
        201: {"headers": {"Location": {"description": "The document.", "schema": {"type": "string"}}}},
        **problem_responses(
            *_ONE, *_BODY, Code.STATE_CONFLICT, Code.DOCUMENT_REFUSED, Code.CHECKSUM_MISMATCH, Code.DAMAGED
        ),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/DocumentFromUpload"}},
                "multipart/form-data": {"schema": _FORM},
            },
        }
    },
)
async def add_document(
    *,
    request: Request,
    appointment_id: AppointmentId,
    caller: MayAddDocument,
    upload: Annotated[DocumentFromUpload | None, Depends(_json_body)],
    services: Wired,
    response: Response,
) -> DocumentView:
    """Add a file, or an upload that is whole; what it is is seen by its content, and the same file twice is one."""
    appointment = await services.appointments.find(scope_of(caller), check_id(appointment_id), open_sealed=False)
    if appointment is None:
        raise not_found()
    check_addable(appointment)
    await services.audit.wrote(request, caller, AuditAction.DOCUMENT_ADDED, appointment)
    try:
        if upload is not None:
            document = await _from_upload(services, caller, appointment, upload)
        else:
            document = await _from_form(request, services, caller, appointment)
    except DamagedError as error:
        raise VisitNowError(Code.DAMAGED) from error
    response.headers["Location"] = f"/v1/documents/{document.id}"
    return DocumentView.of(document)


async def _from_upload(
    services: Services, caller: Principal, appointment: Appointment, wanted: DocumentFromUpload
) -> Document:
    upload = await services.receiving.find(caller, wanted.upload_id)
    if upload.document_id is not None:
        known = await services.filing.find(scope_of(caller), upload.document_id)
        if known.appointment_id != appointment.id:
            raise VisitNowError(Code.STATE_CONFLICT)
        return known
    name = wanted.name or (upload.secrets.name if upload.secrets is not None else "")
    told = Told(name, wanted.kind, wanted.sha256)
    document = await services.filing.add(caller, appointment, told, services.receiving.source(upload))
    await services.receiving.finish(upload, document.id)
    return document


async def _from_form(request: Request, services: Services, caller: Principal, appointment: Appointment) -> Document:
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise VisitNowError(Code.UNSUPPORTED_MEDIA_TYPE)
    async with request.form(max_files=1, max_fields=_MAX_FIELDS) as form:
        file, told = _told(form)
        if (file.size or 0) > MAX_DOCUMENT_BYTES:
            raise VisitNowError(Code.TOO_LARGE)
        return await services.filing.add(caller, appointment, told, lambda: _read(file))


def _told(form: FormData) -> tuple[UploadFile, Told]:
    file, kind, digest = form.get("file"), form.get("kind"), form.get("sha256")
    for name in form:
        if name not in {"file", "kind", "sha256"}:
            raise invalid("unknown", "extra_forbidden", "There is no such field")
    if not isinstance(file, UploadFile):
        raise invalid("file", "missing", "must be a file")
    if not isinstance(kind, str) or kind not in set(DocumentKind):
        raise invalid("kind", "enum", f"must be one of {', '.join(DocumentKind)}")
    if digest is not None and (not isinstance(digest, str) or len(digest) != _HEX):
        raise invalid("sha256", "string_pattern_mismatch", "must be 64 hexadecimal digits")
    return file, Told(file.filename or "", DocumentKind(kind), digest.lower() if isinstance(digest, str) else None)


async def _read(file: UploadFile) -> AsyncIterator[bytes]:
    await file.seek(0)
    while content := await file.read(PIECE_BYTES):
        yield content


@router.get("/appointments/{appointment_id}/documents", responses=problem_responses(*_ONE))
async def documents(
    request: Request, appointment_id: AppointmentId, caller: MayReadRecord, services: Wired
) -> DocumentPage:
    """What was added to a visit."""
    appointment = await found(request, services, caller, appointment_id, open_sealed=False)
    listed = await services.filing.of_appointment(scope_of(caller), appointment.id)
    return DocumentPage(items=[DocumentView.of(one) for one in listed])


@router.get(
    "/documents/{document_id}",
    status_code=302,
    response_class=RedirectResponse,
    responses={
        302: {"headers": {"Location": {"description": "Good for five minutes.", "schema": {"type": "string"}}}},
        **problem_responses(*_ONE, Code.ERASED),
    },
)
async def document(
    request: Request, document_id: DocumentId, caller: MayReadRecord, services: Wired
) -> RedirectResponse:
    """A link to the document's bytes, for whoever may read them; the look of others is noted now."""
    known = await services.filing.find(scope_of(caller), document_id)
    await services.audit.read_document(request, caller, known)
    return RedirectResponse(services.filing.link(caller, known), status_code=302)


@router.get(
    "/documents/{document_id}/content",
    dependencies=[PUBLIC],
    response_class=StreamingResponse,
    responses=file_responses("application/octet-stream", page=True),
)
async def document_content(
    request: Request,
    document_id: DocumentId,
    services: Wired,
    token: Annotated[str, Query(max_length=4096, description="What the link carries.")],
) -> Response:
    """The document's bytes, opened on their way; `Range` and `If-Range` work as for any file."""
    known = await services.filing.linked(document_id, token)
    file = File(known.size, known.id, known.media_type, _disposition(known))
    return await ranged(request, file, lambda wanted: services.filing.content(known, wanted))


def _disposition(document: Document) -> str:
    """Never shown by the browser itself: what somebody else has uploaded is not ours to run (RFC 6266, RFC 8187)."""
    name = document.contents.name if document.contents is not None else document.id
    return f"attachment; filename=\"{document.id}\"; filename*=UTF-8''{quote(name, safe='')}"
