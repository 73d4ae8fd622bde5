"""What surrounds every request: ids, limits, headers, and problems as the only form of a refusal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.edge import MAX_BODY_BYTES, MAX_CODEC_BYTES, MAX_FORM_BYTES, Edge, TimeLimits
from api.headers import CLOSED_POLICY, SECURITY_HEADERS
from api.link_pages import POLICY
from api.metrics import Metrics
from api.problem_pages import ProblemPages
from models.errors import Code
from models.files import MAX_UPLOAD_BYTES
from tests.api.conftest import Api
from tests.stack import Stack

Json = dict[str, Any]
CANARY = "canary-5f2e9"


def _problem(answer: httpx.Response, code: Code) -> Json:
    assert answer.headers["content-type"] == "application/problem+json"
    problem: Json = answer.json()
    assert problem["code"] == code
    assert problem["status"] == answer.status_code
    assert problem["type"] == f"urn:visitnow:problem:{code}"
    assert problem["instance"] == f"urn:visitnow:request:{answer.headers['x-request-id']}"
    return problem


async def test_every_answer_carries_an_id(api: Api) -> None:
    async with api.client() as client:
        for answer in [await client.get("/livez"), await client.get("/nowhere"), await client.get("/v1/appointments")]:
            assert len(answer.headers["x-request-id"]) == 16
            assert "server" not in answer.headers or "uvicorn" in answer.headers["server"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [("0123456789abcdef", True), ("trace_7-A", True), ("short", False), ("x" * 65, False), ("a b c d e f", False)],
)
async def test_a_caller_s_request_id_is_kept_where_it_is_harmless(api: Api, given: str, kept: bool) -> None:  # noqa: FBT001
    async with api.client() as client:
        answer = await client.get("/livez", headers={"X-Request-Id": given})
    assert (answer.headers["x-request-id"] == given) is kept


async def test_an_unknown_path_is_not_found(api: Api) -> None:
    async with api.client("patient") as client:
        for path in ["/", "/v1", "/v1/nothing", "/v1/appointments/", "//v1/appointments", "/v1/../livez/x", "/%00"]:
            _problem(await client.get(path), Code.NOT_FOUND)


async def test_an_unoffered_method_names_those_that_are(api: Api) -> None:
    async with api.client("patient") as client:
        answer = await client.delete("/v1/appointments")
        _problem(answer, Code.METHOD_NOT_ALLOWED)
        assert set(answer.headers["allow"].replace(" ", "").split(",")) & {"GET", "POST"}
        _problem(await client.request("PROPFIND", "/livez"), Code.METHOD_NOT_ALLOWED)


async def test_a_body_that_is_too_long_is_refused_before_it_is_read(api: Api) -> None:
    async with api.client("patient") as client:
        answer = await client.post("/v1/appointments", content=b" " * (MAX_BODY_BYTES + 1))
        _problem(answer, Code.TOO_LARGE)


async def _chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * 1024


@pytest.mark.parametrize("path", ["/v1/appointments", "/v1/webhooks/razorpay"])
async def test_a_body_that_grows_too_long_is_refused_while_it_is_read(api: Api, path: str) -> None:
    async with api.client("patient", **{"Content-Type": "application/json"}) as client:
        answer = await client.post(
            path, content=_chunks(MAX_BODY_BYTES // 1024 + 1), headers={"X-Razorpay-Signature": "0" * 64}
        )
        _problem(answer, Code.TOO_LARGE)


BODY = {"provider_id": "prv_1", "service_id": "svc_1", "start": "2030-01-07T04:30:00Z"}


@pytest.mark.parametrize(
    "content", [b"{", b"", b"nul", b'{"a":1,}', b"\xff\xfe\x00", b"[" * 50_000, b"{'provider_id': 1}"]
)
async def test_what_is_not_json_is_malformed(api: Api, key: str, content: bytes) -> None:
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    async with api.client("patient") as client:
        answer = await client.post("/v1/appointments", content=content, headers=headers)
    if content:
        _problem(answer, Code.MALFORMED)
    else:
        assert _problem(answer, Code.INVALID)["errors"][0]["code"] == "missing"


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "json"]
)
async def test_another_media_type_is_not_read(api: Api, key: str, media_type: str) -> None:
    headers = {"Idempotency-Key": key, "Content-Type": media_type}
    async with api.client("patient") as client:
        answer = await client.post("/v1/appointments", content=json.dumps(BODY), headers=headers)
    _problem(answer, Code.UNSUPPORTED_MEDIA_TYPE)


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "application/vnd.visitnow+json"])
async def test_json_is_read_whatever_it_calls_itself(api: Api, key: str, media_type: str) -> None:
    headers = {"Idempotency-Key": key, "Content-Type": media_type}
    async with api.client("patient") as client:
        answer = await client.post("/v1/appointments", content=json.dumps(BODY), headers=headers)
    _problem(answer, Code.NOT_FOUND)  # the made-up provider


@pytest.mark.parametrize("body", [[], None, "text", 7, [BODY], True])
async def test_json_that_is_no_object_is_invalid(api: Api, key: str, body: object) -> None:
    async with api.client("patient") as client:
        answer = await client.post("/v1/appointments", json=body, headers={"Idempotency-Key": key})
    _problem(answer, Code.INVALID)


@pytest.mark.parametrize(
    "extra",
    [
        {"tenant_id": CANARY}, {"role": CANARY}, {"price": 1}, {"status": CANARY}, {"state": "confirmed"},
        {"policy": {}}, {CANARY + "\n<script>": 1}, {"$where": CANARY},
        {"patient": {"dependant_id": CANARY, "role": CANARY}},
        {"patient": {"name": "A", "date_of_birth": "2000-01-01", "relation": "son", "role": CANARY}},
    ],
)  # fmt: skip
async def test_a_field_that_is_not_ours_is_refused(api: Api, key: str, extra: Json) -> None:
    async with api.client("patient") as client:
        answer = await client.post("/v1/appointments", json={**BODY, **extra}, headers={"Idempotency-Key": key})
    problem = _problem(answer, Code.INVALID)
    assert {error["code"] for error in problem["errors"]} & {"extra_forbidden"}
    assert "<script>" not in answer.text


BAD_VALUES: list[Json] = [
    {"provider_id": {"$gt": ""}},
    {"provider_id": {"$where": CANARY}},
    {"provider_id": f"{CANARY} with spaces"},
    {"provider_id": f"${CANARY}"},
    {"provider_id": None},
    {"service_id": [CANARY]},
    {"service_id": ""},
    {"service_id": "x" * 129},
    {"start": CANARY},
    {"start": 1_767_000_000},
    {"start": "1767000000"},
    {"start": "2030-01-07T04:30:00"},
    {"start": "2030-01-07"},
    {"start": "2030-13-07T04:30:00Z"},
    {"start": "0001-01-01T00:00:00+14:00"},
    {"start": "9999-12-31T23:59:59-14:00"},
    {"start": "२०३०-01-07T04:30:00Z"},
    {"patient": CANARY},
    {"patient": {"name": CANARY}},
    {"patient": {"name": "", "date_of_birth": "2000-01-01", "relation": "son"}},
    {"patient": {"name": f"{CANARY}\r\nX-Evil: 1", "date_of_birth": "2000-01-01", "relation": "son"}},
    {"patient": {"name": "A", "date_of_birth": "2999-01-01", "relation": "son"}},
    {"patient": {"name": "A", "date_of_birth": "1800-01-01", "relation": "son"}},
    {"patient": {"name": "A", "date_of_birth": 0, "relation": "son"}},
    {"patient": {"name": "A" * 121, "date_of_birth": "2000-01-01", "relation": "son"}},
    {"reason": f"{CANARY}" + "x" * 1000},
    {"reason": f"{CANARY}\u0000"},
    {"reason": {"$gt": CANARY}},
    {"reason": " "},
]


@pytest.mark.parametrize("bad", BAD_VALUES, ids=[str(number) for number in range(len(BAD_VALUES))])
async def test_a_bad_value_is_named_and_never_repeated(api: Api, key: str, bad: Json) -> None:
    async with api.client("patient") as client:
        answer = await client.post("/v1/appointments", json={**BODY, **bad}, headers={"Idempotency-Key": key})
    problem = _problem(answer, Code.INVALID)
    assert all(error["field"].partition(".")[0] in bad for error in problem["errors"])
    assert CANARY not in answer.text


async def test_a_lone_surrogate_is_refused(api: Api, key: str) -> None:
    content = json.dumps({**BODY, "reason": "ab"}).replace("ab", "\\ud800")
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    async with api.client("patient") as client:
        _problem(await client.post("/v1/appointments", content=content, headers=headers), Code.INVALID)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/livez?verbose=1", "query"),
        ("/v1/providers?sort=nicest", "sort"),
        (f"/v1/providers?{CANARY}=1", "query"),
        ("/v1/providers?limit=1&limit=2", "limit"),
        ("/v1/providers?limit=0", "limit"),
        ("/v1/providers?limit=101", "limit"),
        ("/v1/providers?limit=ten", "limit"),
        ("/v1/providers?fee_max=-1", "fee_max"),
        ("/v1/providers?mode=letter", "mode"),
        ("/v1/providers?gender[$ne]=male", "query"),
        ("/v1/appointments?state=lost", "state"),
        ("/v1/appointments?from=yesterday", "from"),
        ("/v1/appointments?to=9999-12-31", "to"),
        ("/v1/appointments?provider_id=a%20b", "provider_id"),
        ("/v1/operations/workflows/x?full=1", "query"),
    ],
)
async def test_a_query_parameter_that_is_unknown_or_bad_is_refused(api: Api, path: str, field: str) -> None:
    who = "admin" if "operations" in path else "patient"
    async with api.client(who) as client:
        problem = _problem(await client.get(path), Code.INVALID)
    assert [error["field"] for error in problem["errors"]] == [field]
    assert CANARY not in str(problem)


async def test_requests_are_counted_by_route_template(api: Api) -> None:
    async with api.client("patient") as client:
        await client.get("/v1/appointments/apt_" + "a" * 26)
        await client.get(f"/{CANARY}")
        exposed = (await client.get("/metrics")).text
    families = {family.name: family for family in text_string_to_metric_families(exposed)}
    counts = {
        (sample.labels["http_request_method"], sample.labels["http_route"], sample.labels["http_response_status_code"])
        for sample in families["http_server_request_duration_seconds"].samples
        if sample.name.endswith("_count")
    }
    assert ("GET", "/v1/appointments/{appointment_id}", "404") in counts
    assert ("_OTHER", "unmatched", "404") in counts
    assert CANARY not in exposed
    assert "apt_" not in exposed


# Alone, around applications that misbehave


async def _through(app: ASGIApp, seconds: float = 5) -> httpx.Response:
    transport = httpx.ASGITransport(app=Edge(app, Metrics(), TimeLimits(first_byte=seconds)))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get("/x")


async def test_an_unexpected_error_is_told_without_its_text() -> None:
    async def broken(_: Scope, __: Receive, ___: Send) -> None:
        raise RuntimeError(CANARY)

    with structlog.testing.capture_logs() as logged:
        answer = await _through(broken)
    _problem(answer, Code.INTERNAL)
    assert CANARY not in answer.text
    assert CANARY not in str(logged)
    [failed] = [line for line in logged if line["event"] == "request.failed"]
    assert failed["error"] == "RuntimeError"
    assert failed["where"].startswith(f"{Path(__file__).name}:")


async def test_an_answer_that_does_not_begin_in_time_is_given_up() -> None:
    async def stuck(_: Scope, __: Receive, ___: Send) -> None:
        await asyncio.Event().wait()

    answer = await _through(stuck, 0.05)
    _problem(answer, Code.UNAVAILABLE)
    assert answer.headers["retry-after"] == "1"


PAGES = ("/v1/links/abc", "/v1/links/abc/unsubscribe", "/v1/documents/doc_1/content")


@pytest.mark.parametrize("path", [*PAGES, "/v1/me"])
@pytest.mark.parametrize("accept", ["text/html,*/*;q=0.8", "*/*"])
@pytest.mark.parametrize(("fault", "status"), [("broken", 500), ("stuck", 503), ("long", 413)])
async def test_what_the_edge_refuses_is_a_page_where_a_person_looks(
    path: str, accept: str, fault: str, status: int
) -> None:
    async def fails(_: Scope, __: Receive, ___: Send) -> None:
        if fault == "broken":
            raise RuntimeError(CANARY)
        await asyncio.Event().wait()

    edge = Edge(fails, Metrics(), TimeLimits(first_byte=0.05), page=ProblemPages().answer)
    transport = httpx.ASGITransport(app=edge)
    sent = {"Accept": accept, **({"Content-Length": str(MAX_UPLOAD_BYTES + 1)} if fault == "long" else {})}
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get(path, headers=sent)
    assert answer.status_code == status
    is_page = path in PAGES and "html" in accept
    assert answer.headers["content-type"] == ("text/html; charset=utf-8" if is_page else "application/problem+json")
    assert answer.headers["content-security-policy"] == (POLICY if is_page else CLOSED_POLICY)
    assert {name.lower() for name, _ in SECURITY_HEADERS} <= set(answer.headers)
    assert answer.headers.get("retry-after") == (None if fault == "long" else "1")
    assert len(answer.headers["x-request-id"]) == 16
    assert CANARY not in answer.text


UNREADABLE = (
    b"nonsense\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX\x00Y: 1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
)


@pytest.mark.parametrize("sent", UNREADABLE)
async def test_what_cannot_be_read_is_refused_like_anything_else(shared_stack: Stack, sent: bytes) -> None:
    """A client that speaks no HTTP, or tries to smuggle, reaches no application: the server itself answers."""
    url = httpx.URL(shared_stack.api_url)
    async with asyncio.timeout(30):
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(sent)
        await writer.drain()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    assert status == "HTTP/1.1 400 Bad Request"
    headers = httpx.Headers([(name, value) for name, _, value in (line.partition(": ") for line in lines)])
    assert {name: headers[name] for name, _ in SECURITY_HEADERS} == dict(SECURITY_HEADERS)
    assert (headers["connection"], "server" in headers) == ("close", False)
    _problem(httpx.Response(400, headers=headers, content=body), Code.MALFORMED)


async def test_an_answer_that_has_begun_may_take_its_time() -> None:
    async def slow(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0.2)
        await send({"type": "http.response.body", "body": b"done"})

    assert (await _through(slow, 0.05)).text == "done"


async def test_a_slow_line_is_given_as_long_again_with_whatever_arrives() -> None:
    async def reads(_: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(10):
            await asyncio.sleep(0.05)
            yield b"x"

    transport = httpx.ASGITransport(app=Edge(reads, Metrics(), TimeLimits(first_byte=0.3)))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.patch("/v1/uploads/upl_1", content=slow())).status_code == 204
        assert (await client.patch("/v1/me", content=slow())).status_code == 503


async def test_a_body_that_trickles_is_given_up_at_last() -> None:
    async def reads(_: Scope, receive: Receive, __: Send) -> None:
        while (await receive()).get("more_body"):
            pass

    async def trickle() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.02)
            yield b"x"

    limits = TimeLimits(first_byte=0.2, whole_body=0.5)
    transport = httpx.ASGITransport(app=Edge(reads, Metrics(), limits))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client, asyncio.timeout(20):
        assert (await client.patch("/v1/uploads/upl_1", content=trickle())).status_code == 503


async def test_whoever_takes_nothing_of_an_answer_is_let_go() -> None:
    let_go = asyncio.Event()

    async def streams(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        finally:
            let_go.set()

    async def takes_the_head_only(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope: Scope = {"type": "http", "method": "GET", "path": "/x", "headers": []}
    async with asyncio.timeout(20):
        await Edge(streams, Metrics(), TimeLimits(stalled=0.05))(scope, receive, takes_the_head_only)
    assert let_go.is_set()


@pytest.mark.parametrize(
    ("path", "longest"),
    [
        ("/v1/uploads/upl_1", MAX_UPLOAD_BYTES),
        ("/v1/appointments/apt_1/documents", MAX_FORM_BYTES),
        ("/v1/onboarding/applications/app_1/documents", MAX_FORM_BYTES),
        ("/v1/uploads", MAX_BODY_BYTES),
        ("/v1/appointments/apt_1/summary", MAX_BODY_BYTES),
        ("/codec/decode", MAX_CODEC_BYTES),
        ("/codec/sign-in", MAX_BODY_BYTES),
    ],
)
async def test_how_long_a_request_may_be_depends_on_what_it_brings(path: str, longest: int) -> None:
    async def fine(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    transport = httpx.ASGITransport(app=Edge(fine, Metrics()))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.put(path, headers={"Content-Length": str(longest)})).status_code == 204
        assert (await client.put(path, headers={"Content-Length": str(longest + 1)})).status_code == 413


async def test_the_log_line_of_a_request_names_no_path_and_no_query(api: Api) -> None:
    with structlog.testing.capture_logs() as logged:
        async with api.client("patient") as client:
            await client.get(f"/v1/providers?q={CANARY}&limit=1")
            await client.get(f"/v1/providers/{CANARY}")
    lines = [line for line in logged if line["event"] == "request"]
    assert [line["route"] for line in lines] == ["/v1/providers", "/v1/providers/{provider_id}"]
    assert [line["status"] for line in lines] == [200, 404]
    assert CANARY not in str(logged)
