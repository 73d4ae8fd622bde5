"""How the pages look and what browsers are told about them; everything that is put into them is escaped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from sandbox.config import SandboxConfig
from sandbox.errors import GatewayError, unknown_id
from sandbox.settlements import INDIA

HERE = Path(__file__).parent

Page = Callable[[Request], Awaitable[Response]]


class Renderer:
    """Renders the templates; forms lead to the sandbox itself and to the merchant, nowhere else."""

    def __init__(self, config: SandboxConfig) -> None:
        """Load the templates."""
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined
        )
        self._templates.filters["rupees"] = rupees
        self._templates.filters["clock_time"] = clock_time
        self.merchant = origin(config.public_url) if config.public_url is not None else None

    def render(self, template: str, status: int = HTTPStatus.OK, /, **values: object) -> Response:
        """Answer with a page."""
        form_targets = "'self'" if self.merchant is None else f"'self' {self.merchant}"
        policy = (
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
            f"form-action {form_targets}"
        )
        headers = {
            "content-security-policy": policy,
            "cache-control": "no-store",
            "referrer-policy": "same-origin",
            "x-content-type-options": "nosniff",
        }
        return HTMLResponse(self._templates.get_template(template).render(**values), status, headers)

    def guarded(self, page: Page) -> Page:
        """Show what cannot be done as a page of its own."""

        async def endpoint(request: Request) -> Response:
            try:
                return await page(request)
            except GatewayError as error:
                known = error.description != unknown_id().description
                status = HTTPStatus(error.status if known else HTTPStatus.NOT_FOUND)
                return self.render("message.html", status, title="That did not work", text=error.description)

        return endpoint


def rupees(paise: int) -> str:
    """Write an amount as Indians do: 12345678 paise are ₹1,23,456.78."""
    whole, rest = divmod(paise, 100)
    digits = str(whole)
    head, tail = digits[:-3], digits[-3:]
    groups: list[str] = []
    while head:
        groups.insert(0, head[-2:])
        head = head[:-2]
    return f"₹{','.join([*groups, tail])}.{rest:02d}"


def clock_time(seconds: float) -> str:
    """Write Unix seconds as an Indian wall time."""
    return datetime.fromtimestamp(seconds, INDIA).strftime("%d %b %Y, %H:%M:%S IST")


def origin(address: str) -> str | None:
    """Give scheme, host and port of an http or https address without credentials; None for anything else."""
    try:
        parts = urlsplit(address)
        hostname = parts.hostname
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or hostname is None or parts.username is not None:
        return None
    return f"{parts.scheme}://{parts.netloc.lower()}"
