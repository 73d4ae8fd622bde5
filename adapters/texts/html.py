"""An e-mail's text as HTML, under its sender's name and in its colour; everything in it is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from models.messaging import Brand

USUAL_COLOR: Final = "#1f6feb"

_environment: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
)
_mail: Final = _environment.get_template("mail.html")


def html_of(text: str, brand: Brand, language: str) -> str:
    """The same words: a paragraph per blank line, and a line that is a link leads where it says."""
    paragraphs = [part.splitlines() for part in text.strip().split("\n\n") if part.strip()]
    return _mail.render(
        paragraphs=paragraphs,
        name=brand.name,
        color=brand.color or USUAL_COLOR,
        logo=brand.logo_url,
        language=language,
    )
