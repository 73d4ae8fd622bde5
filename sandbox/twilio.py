"""The messaging service's HTTP interface: sending, reading and redacting messages, its refusals and armed faults.

WhatsApp messages are taken as if each person had written within the last day, so that free text may reach them.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from http import HTTPStatus
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sandbox.faults import Operation
from sandbox.gateway import Gateway
from sandbox.messages import WHATSAPP, Message, new_sid, same_address
from sandbox.troubles import suffer
from sandbox.wire import encode

API = "/2010-04-01"
LONGEST_BODY = 1600
SEGMENT = 153
LARGEST_PAGE = 1000
USUAL_PAGE = 50
TRAVELLING = frozenset({"accepted", "scheduled", "queued", "sending"})
E164 = re.compile(r"\+[1-9]\d{6,14}")

# Numbers that the service reserves for trying its refusals (its test credentials' magic numbers).
MAGIC = {
    "+15005550001": (21211, "Invalid 'To' Phone Number: +1500555XXXX"),
    "+15005550002": (21612, "The 'To' phone number is not currently reachable using the 'From' phone number"),
    "+15005550003": (21408, "Permission to send an SMS has not been enabled for the region"),
    "+15005550004": (21610, "Attempt to send to unsubscribed recipient"),
    "+15005550009": (21614, "'To' number is not a valid mobile number"),
}

Form = Mapping[str, str]
Work = Callable[[Gateway, Request, Form], object]
Endpoint = Callable[[Request], Awaitable[Response]]


class RefusedError(Exception):
    """A refusal in the service's own words and numbers."""

    def __init__(self, code: int, message: str, status: int = HTTPStatus.BAD_REQUEST) -> None:
        """Keep what the answer needs."""
        super().__init__(message)
        self.status = int(status)
        self.body = {
            "code": code,
            "message": message,
            "more_info": f"https://www.twilio.com/docs/errors/{code}",
            "status": int(status),
        }


def routes(gateway: Gateway) -> list[BaseRoute]:
    """List the service's routes; everything else under its version is an unknown resource."""

    def route(method: str, path: str, operation: Operation, work: Work) -> Route:
        return Route(f"{API}/Accounts/{{account}}{path}", _endpoint(gateway, operation, work), methods=[method])

    async def unknown(request: Request) -> Response:
        return _refuse(_unknown(request) if _authentic(gateway, request) else _unauthorized())

    return [
        route("POST", "/Messages.json", "message.create", _create),
        route("GET", "/Messages/{sid}.json", "message.fetch", _fetch),
        route("POST", "/Messages/{sid}.json", "message.update", _update),
        route("GET", "/Messages.json", "message.list", _list),
        Route(f"{API}/{{path:path}}", unknown, methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]),
    ]


def _endpoint(gateway: Gateway, operation: Operation, work: Work) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        if not _authentic(gateway, request):
            return _refuse(_unauthorized())
        if request.path_params["account"] != gateway.config.account_sid:
            return _refuse(_unknown(request))
        form = _form(await request.body())
        # From here to the answer or the fault nothing is awaited: a call that is counted has its fault.
        gateway.requests[operation] += 1
        perform = partial(_perform, gateway, request, form, work)
        fault = gateway.faults.take(operation)
        if fault is None:
            return perform()
        return await suffer(fault, gateway.holds, request, perform, lambda status: _refuse(_trouble(status)))

    return endpoint


def _authentic(gateway: Gateway, request: Request) -> bool:
    config = gateway.config
    if config.account_sid is None or config.auth_token is None:
        return False
    expected = b"Basic " + base64.b64encode(f"{config.account_sid}:{config.auth_token}".encode())
    return hmac.compare_digest(request.headers.get("authorization", "").encode("latin-1"), expected)


def _form(body: bytes) -> Form:
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[-1] for name, values in fields.items()}


def _perform(gateway: Gateway, request: Request, form: Form, work: Work) -> Response:
    try:
        made = request.method == "POST" and "sid" not in request.path_params
        status = HTTPStatus.CREATED if made else HTTPStatus.OK
        return _json(work(gateway, request, form), status)
    except RefusedError as error:
        return _refuse(error)


def _json(value: object, status: int) -> Response:
    return Response(encode(value), status, media_type="application/json")


def _refuse(error: RefusedError) -> Response:
    return _json(error.body, error.status)


def _unauthorized() -> RefusedError:
    return RefusedError(20003, "Authenticate", HTTPStatus.UNAUTHORIZED)


def _unknown(request: Request) -> RefusedError:
    return RefusedError(20404, f"The requested resource {request.url.path} was not found", HTTPStatus.NOT_FOUND)


def _trouble(status: int) -> RefusedError:
    """Say that the service is in trouble: its code follows from the HTTP status."""
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RefusedError(20429, "Too Many Requests", status)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return RefusedError(20503, "Service unavailable", status)
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return RefusedError(20001, "The request could not be processed", status)
    return RefusedError(20500, "An internal server error has occurred", status)


def _create(gateway: Gateway, _: Request, form: Form) -> object:
    wanted = form.get("To", "")
    sender = form.get("From", "") or form.get("MessagingServiceSid", "")
    text = _text(form)
    number = wanted.removeprefix(WHATSAPP)
    _check(wanted, sender, text)
    message = gateway.messages.add(
        Message(
            id=new_sid(),
            channel="whatsapp" if wanted.startswith(WHATSAPP) else "sms",
            to=number,
            sender=sender.removeprefix(WHATSAPP),
            text=text,
            callback=_callback(form.get("StatusCallback")),
        )
    )
    answer = _entity(gateway, message)
    gateway.messages.travel(message)
    return answer


def _text(form: Form) -> str:
    """Give the body, or of a prepared content its id and variables, as nobody has told us its words."""
    if "ContentSid" in form:
        return f"{form['ContentSid']} {form.get('ContentVariables', '{}')}"
    return form.get("Body", "")


def _check(to: str, sender: str, text: str) -> None:
    number = to.removeprefix(WHATSAPP)
    if not to:
        raise RefusedError(21604, "A 'To' phone number is required.")
    if E164.fullmatch(number) is None:
        raise RefusedError(21211, "The 'To' number is not a valid phone number.")
    if number in MAGIC:
        raise RefusedError(*MAGIC[number])
    if not sender:
        raise RefusedError(21603, "A 'From' phone number is required.")
    if to.startswith(WHATSAPP) != sender.startswith(WHATSAPP) and not sender.startswith("MG"):
        raise RefusedError(63007, "Twilio could not find a Channel with the specified From address")
    if not text:
        raise RefusedError(21602, "Message body is required.")
    if len(text) > LONGEST_BODY:
        raise RefusedError(21617, "The concatenated message body exceeds the 1600 character limit.")


def _callback(url: str | None) -> str | None:
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or parts.hostname is None:
        raise RefusedError(21609, "The 'StatusCallback' URL is not a valid URL.")
    return url


def _fetch(gateway: Gateway, request: Request, _: Form) -> object:
    message = gateway.messages.find(request.path_params["sid"])
    if message is None or message.channel == "email":
        raise _unknown(request)
    return _entity(gateway, message)


def _update(gateway: Gateway, request: Request, form: Form) -> object:
    """Forget the words of a message that has left or failed: nothing else of it can be changed."""
    message = gateway.messages.find(request.path_params["sid"])
    if message is None or message.channel == "email":
        raise _unknown(request)
    if form.get("Body") != "":
        raise RefusedError(20001, "Only an empty Body is accepted.")
    if message.status in TRAVELLING:
        raise RefusedError(20009, "The message is still in progress.")
    message.text = ""
    return _entity(gateway, message)


def _list(gateway: Gateway, request: Request, _: Form) -> object:
    query = request.query_params
    size = min(max(_number(query.get("PageSize"), USUAL_PAGE), 1), LARGEST_PAGE)
    page = max(_number(query.get("Page"), 0), 0)
    found = [one for one in gateway.messages.newest(query.get("To")) if _wanted(one, query)]
    shown = found[page * size : (page + 1) * size]

    def address(number: int) -> str:
        return f"{request.url.path}?{urlencode({**query, 'PageSize': str(size), 'Page': str(number)})}"

    return {
        "messages": [_entity(gateway, one) for one in shown],
        "page": page,
        "page_size": size,
        "start": page * size,
        "end": page * size + max(len(shown) - 1, 0),
        "uri": address(page),
        "first_page_uri": address(0),
        "next_page_uri": address(page + 1) if len(found) > (page + 1) * size else None,
        "previous_page_uri": address(page - 1) if page else None,
    }


def _number(text: str | None, usual: int) -> int:
    return int(text) if text is not None and text.isascii() and text.isdecimal() else usual


def _wanted(message: Message, query: Mapping[str, str]) -> bool:
    if message.channel == "email":
        return False
    to, sender = query.get("To", ""), query.get("From")
    if to and to.startswith(WHATSAPP) != (message.channel == "whatsapp"):
        return False
    if sender and not same_address(message.sender, sender):
        return False
    on, before, after = query.get("DateSent"), query.get("DateSent<"), query.get("DateSent>")
    if not (on or before or after):
        return True
    if message.sent_at is None:
        return False
    sent = datetime.fromtimestamp(message.sent_at, UTC)
    return (
        (not on or sent.date() == _instant(on).date())
        and (not before or sent <= _instant(before))
        and (not after or sent >= _instant(after))
    )


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise RefusedError(20001, "A date is not in the format of ISO 8601") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _entity(gateway: Gateway, message: Message) -> dict[str, object]:
    account = gateway.config.account_sid
    uri = f"{API}/Accounts/{account}/Messages/{message.id}"
    prefix = WHATSAPP if message.channel == "whatsapp" else ""
    service = message.sender.startswith("MG")
    return {
        "account_sid": account,
        "api_version": API.removeprefix("/"),
        "body": message.text,
        "date_created": _rfc2822(message.created_at),
        "date_sent": None if message.sent_at is None else _rfc2822(message.sent_at),
        "date_updated": _rfc2822(message.updated_at),
        "direction": "outbound-api",
        "error_code": message.error_code,
        "error_message": None,
        "from": None if service else prefix + message.sender,
        "messaging_service_sid": message.sender if service else None,
        "num_media": "0",
        "num_segments": str(-(-len(message.text) // SEGMENT)),
        "price": None,
        "price_unit": "USD",
        "sid": message.id,
        "status": message.status,
        "subresource_uris": {"media": f"{uri}/Media.json"},
        "to": prefix + message.to,
        "uri": f"{uri}.json",
    }


def _rfc2822(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC))
