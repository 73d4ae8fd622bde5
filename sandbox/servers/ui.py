"""The Temporal UI as operators have it: its pages send the codec server's cookie along, and say where to sign in.

The development server's UI takes the codec server's address and nothing else. What its container is told by
`TEMPORAL_CODEC_INCLUDE_CREDENTIALS`, `…_DEFAULT_ERROR_MESSAGE` and `…_DEFAULT_ERROR_LINK` is put here into the one
answer that carries it; everything else passes through as it is. Start it with `python -m sandbox.servers.ui`.
"""

import argparse
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

HOST = "127.0.0.1"
SETTINGS_PATH = "/api/v1/settings"
MESSAGE = "Payloads are encrypted. Sign in to read them, then load this page again:"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_TIMEOUT = httpx.Timeout(10.0, read=120.0)  # the UI waits for new events for a minute at a time
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)


class Door:
    """Passes requests on to the UI behind it."""

    def __init__(self, ui_url: str, sign_in_url: str) -> None:
        """`sign_in_url` is the page at which operators sign in to read payloads."""
        self._ui_url = ui_url
        self._sign_in_url = sign_in_url
        self._client = httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False, follow_redirects=False)

    async def close(self) -> None:
        """Let the connections go."""
        await self._client.aclose()

    async def pass_on(self, request: Request) -> Response:
        """The UI's answer."""
        query = request.url.query
        url = self._ui_url + request.scope["raw_path"].decode("ascii") + (f"?{query}" if query else "")
        headers = [(name, value) for name, value in request.headers.items() if name not in _HOP_BY_HOP]
        asked = self._client.build_request(request.method, url, headers=headers, content=await request.body())
        try:
            answer = await self._client.send(asked, stream=True)
        except httpx.TransportError:
            return PlainTextResponse("the Temporal UI does not answer", 502)
        if request.url.path == SETTINGS_PATH and answer.is_success:
            return await self._settings(answer)
        passed = StreamingResponse(answer.aiter_raw(), answer.status_code, background=BackgroundTask(answer.aclose))
        passed.raw_headers = [
            (name.lower(), value) for name, value in answer.headers.raw if name.lower().decode() not in _HOP_BY_HOP
        ]
        return passed

    async def _settings(self, answer: httpx.Response) -> Response:
        await answer.aread()
        await answer.aclose()
        settings = answer.json()
        settings["Codec"] |= {
            "IncludeCredentials": True,
            "DefaultErrorMessage": MESSAGE,
            "DefaultErrorLink": self._sign_in_url,
        }
        return JSONResponse(settings)


def create_app(ui_url: str, sign_in_url: str) -> Starlette:
    """The door as an ASGI app."""
    door = Door(ui_url, sign_in_url)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await door.close()

    return Starlette(routes=[Route("/{path:path}", door.pass_on, methods=METHODS)], lifespan=lifespan)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.servers.ui", description="The Temporal UI's door.")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("--ui", required=True, help="base address of the UI behind it")
    parser.add_argument("--sign-in", required=True, help="page at which operators sign in")
    options = parser.parse_args(arguments)
    uvicorn.run(create_app(options.ui, options.sign_in), host=HOST, port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
