"""`visitnow api`: one HTTP process."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer
import uvicorn
from fastapi import FastAPI

from adapters import logs
from adapters.settings import Settings, load_settings
from api.app import create_app
from api.protocol import ProblemProtocol
from cli.output import explained

DRAIN_SECONDS: Final = 5
"""How long running requests may take to end; streams of events are cut, and their clients come back."""

KEEP_ALIVE_SECONDS: Final = 75
BACKLOG: Final = 2048

app = typer.Typer()


@app.command()
def api(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
) -> None:
    """Serve the API until SIGINT or SIGTERM, with the settings of the environment."""
    with explained():
        settings = load_settings()
        logs.configure(settings.log_level)
        server = uvicorn.Server(server_config(create_app(settings), settings, host, port))
        server.run()
        if not server.started:
            sys.exit(1)


def server_config(application: FastAPI, settings: Settings, host: str, port: int) -> uvicorn.Config:
    """How the application is served."""
    return uvicorn.Config(
        application,
        host=host,
        port=port,
        loop="uvloop",
        http=ProblemProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        # Limits and the audit go by the address of whoever asks: nobody else's word on it counts.
        forwarded_allow_ips=settings.trusted_proxies,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
