"""What a browser shows where a link of a message leads nowhere, is over or cannot be followed now: a page, not JSON."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from fastapi import Request, Response

from api.link_pages import LinkPages, wants_page
from models.errors import VisitNowError

_LINKS: Final = re.compile(r"/v1/links/.+")
_DOCUMENTS: Final = re.compile(r"/v1/documents/[^/]+/content")
"""Where the links of a summary's page lead."""


class ProblemPages:
    """Answers people who have followed a link."""

    def __init__(self) -> None:
        """The words are those of the links' pages."""
        self._pages = LinkPages()

    def answer(self, request: Request, error: VisitNowError) -> Response | None:
        """The page; None where a program asks, or something that no message leads to."""
        path = request.url.path
        if not wants_page(request) or not (_LINKS.fullmatch(path) or _DOCUMENTS.fullmatch(path)):
            return None
        accepted = [part.partition(";")[0] for part in request.headers.get("accept-language", "").split(",")]
        language = self._pages.language(request.query_params.get("lang"), *accepted)
        again = quote(path) if request.method == "GET" and _LINKS.fullmatch(path) else None
        return self._pages.answer(again, language, problem=error)
