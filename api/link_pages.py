"""The page behind a link: plain HTML without a script, in the reader's language."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from babel.dates import format_datetime
from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from api.headers import page_policy
from api.schemas.links import LinkedVisitView
from models.booking import AppointmentState
from models.errors import ERRORS, Code, VisitNowError

FALLBACK: Final = "en"
_WHEN: Final = "EEEE, d MMMM y, h:mm a '('VVV')'"
_HERE: Final = Path(__file__).parent / "pages"
STYLE: Final = (_HERE / "visit.css").read_text(encoding="utf-8")
POLICY: Final = page_policy(STYLE)


def wants_page(request: Request) -> bool:
    """Whether a person's browser asks: programs that say nothing get JSON."""
    accepted = [part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "").split(",")]
    return "text/html" in accepted


class LinkPages:
    """Renders the page; the words are those of one file per language."""

    def __init__(self) -> None:
        """The files are read once."""
        environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)
        self._template = environment.get_template("visit.html")
        self._words: dict[str, Mapping[str, Any]] = {
            path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(_HERE.glob("*.toml"))
        }

    @property
    def languages(self) -> Mapping[str, str]:
        """Codes and names of the languages that there are."""
        return {code: str(words["language"]) for code, words in self._words.items()}

    def language(self, *wishes: str | None) -> str:
        """The first wish that there are words for; a region counts only as its language."""
        plain = (wish.replace("_", "-").partition("-")[0].strip().lower() for wish in wishes if wish)
        return next((one for one in plain if one in self._words), FALLBACK)

    def answer(
        self,
        path: str | None,
        language: str,
        visit: LinkedVisitView | None = None,
        problem: VisitNowError | None = None,
    ) -> HTMLResponse:
        """The visit, what went wrong, or both; other languages are offered where `path` leads here again."""
        words = self._words[language]

        def when(instant: datetime) -> str:
            return _when(instant, visit.timezone if visit else "UTC", language)

        def chosen(start: datetime) -> str:
            return urlencode({"start": start.isoformat().replace("+00:00", "Z"), "lang": language})

        text = self._template.render(
            language=language,
            languages=self.languages,
            words=words,
            style=Markup(STYLE),  # noqa: S704  a file of ours
            path=path,
            query=f"?lang={language}",
            visit=visit,
            standing=_standing(visit, words, when) if visit else "",
            problem=_problem(problem, words) if problem else None,
            when=when,
            chosen=chosen,
        )
        headers = {"Content-Security-Policy": POLICY, "Vary": "Accept, Accept-Language", "Content-Language": language}
        if problem is not None and problem.retry_after is not None:
            headers["Retry-After"] = str(problem.retry_after)
        return HTMLResponse(text, ERRORS[problem.code].status if problem else 200, headers)


def _standing(visit: LinkedVisitView, words: Mapping[str, Any], when: Callable[[datetime], str]) -> str:
    if visit.choose_until is not None:
        return str(words["standings"]["away"]).format(until=when(visit.choose_until))
    attends = visit.attending and visit.state is AppointmentState.CONFIRMED
    return str(words["standings"]["attending" if attends else visit.state])


def _problem(problem: VisitNowError, words: Mapping[str, Any]) -> str:
    known: Mapping[Code, str] = words["problems"]
    return known.get(problem.code, words["problems"]["other"])


def _when(instant: datetime, zone: str, language: str) -> str:
    """By the clinic's clock, whose zone is named, since a reader may be elsewhere."""
    return format_datetime(instant.astimezone(ZoneInfo(zone)), _WHEN, locale=f"{language}_IN")
