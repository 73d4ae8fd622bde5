"""The OpenAPI document as a page for people; its scripts come from this very server, and nothing else may run."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Final

from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, Response

from api.headers import hash_source

_STATIC: Final = files("fastapi_offline") / "static"
KEPT: Final = "public, max-age=86400"


class Asset(StrEnum):
    """The files that the page consists of."""

    SCRIPT = "swagger-ui-bundle.js"
    STYLE = "swagger-ui.css"


_MEDIA: Final = {Asset.SCRIPT: "text/javascript; charset=utf-8", Asset.STYLE: "text/css; charset=utf-8"}


def page() -> HTMLResponse:
    """The page."""
    answer = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Illajwala VisitNow",
        swagger_js_url=f"/docs/{Asset.SCRIPT}",
        swagger_css_url=f"/docs/{Asset.STYLE}",
        swagger_favicon_url="data:,",
    )
    inline = re.findall(r"<script>(.*?)</script>", bytes(answer.body).decode(), flags=re.DOTALL)
    # The library sets styles of single elements as it draws.
    answer.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'self' {' '.join(map(hash_source, inline))}; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    return answer


@cache
def _content(name: Asset) -> bytes:
    return (_STATIC / name).read_bytes()


def asset(name: Asset) -> Response:
    """One of its files; the same for everybody."""
    return Response(_content(name), media_type=_MEDIA[name], headers={"Cache-Control": KEPT})
