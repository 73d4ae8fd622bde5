"""The sandbox as an ASGI app, and the process that serves it."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from sandbox import control, payments, twilio
from sandbox.checkout import Pages
from sandbox.config import SandboxConfig
from sandbox.gateway import Gateway
from sandbox.inbox import Inboxes
from sandbox.pages import Renderer
from sandbox.smtp import SmtpServer

KEEP_ALIVE_SECONDS = 75
SHUTDOWN_SECONDS = 5
READY = "sandbox ready: "


def create_app(config: SandboxConfig) -> Starlette:
    """Build the app; `app.state.gateway` is what stands behind it, and mail is taken at `app.state.smtp_port`.

    Its background work ends with the app.
    """
    gateway = Gateway(config)
    mail = SmtpServer(gateway)
    renderer = Renderer(config)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.smtp_port = await mail.start(config.host, config.smtp_port)
        yield
        await mail.close()
        await gateway.close()

    async def live(_: Request) -> Response:
        return PlainTextResponse("ok")

    app = Starlette(
        routes=[
            *payments.routes(gateway),
            *twilio.routes(gateway),
            *control.routes(gateway),
            *Pages(gateway, renderer).routes(),
            *Inboxes(gateway.messages, renderer).routes(),
            Route("/livez", live, methods=["GET"]),
        ],
        lifespan=lifespan,
    )
    app.state.gateway = gateway
    return app


class SandboxServer(uvicorn.Server):
    """A server that tells its addresses once it serves, and lets held callers go when it is asked to stop."""

    def __init__(self, config: uvicorn.Config, app: Starlette) -> None:
        """Serve what `create_app` has made."""
        super().__init__(config)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then print the one line that a parent process waits for."""
        await super().startup(sockets)
        if self.started and sockets:
            url = _url(sockets[0])
            mail = f"smtp://{url.removeprefix('http://').rpartition(':')[0]}:{self._app.state.smtp_port}"
            sys.stdout.write(f"{READY}{url} {mail}\n")
            sys.stdout.flush()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop: whoever a time-out fault holds would otherwise be waited for."""
        self._app.state.gateway.release()
        super().handle_exit(sig, frame)


def serve(config: SandboxConfig) -> None:
    """Serve until SIGINT or SIGTERM; raises OSError where the address is taken."""
    logging.basicConfig(level=config.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    app = create_app(config)
    settings = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        server_header=False,
        log_config=None,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    # The server raises the signal that stopped it once more; Ctrl-C is a way to end, not an error.
    with suppress(KeyboardInterrupt), socket.create_server((config.host, config.port), backlog=2048) as listener:
        SandboxServer(settings, app).run(sockets=[listener])


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
