"""`visitnow openapi`: the OpenAPI document, as it is committed in docs/openapi.json."""

from __future__ import annotations

import json
import sys

import typer

from adapters.settings import load_settings
from api.app import create_app
from cli.output import explained

app = typer.Typer()


@app.command()
def openapi() -> None:
    """Print the OpenAPI document; nothing needs to run for it."""
    with explained():
        document = create_app(load_settings()).openapi()
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
