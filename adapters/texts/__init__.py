"""The words of messages: one file per language, one table per template; tenants may have words of their own.

Each template has a `short` text, for SMS and WhatsApp, and a `subject` and a `text`, for e-mail. Files are written by
translators and rendered in a sandbox all the same: what is put into them comes from people. A parameter that was not
given is empty. In India the short texts must be those that are registered with the operators (DLT).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from jinja2 import ChainableUndefined
from jinja2.sandbox import SandboxedEnvironment
from pydantic import TypeAdapter

from adapters.texts.html import html_of
from models.messaging import Brand, Channel, Content, Letter, Message, Template
from models.notice_facts import language_of
from models.templates import OwnTemplate, Registered, Words

HERE: Final = Path(__file__).parent
FALLBACK: Final = "en"

_FILE: Final = TypeAdapter(dict[Template, Words])


class FileTexts:
    """Implements `models.notice_ports.Texts`; the files are read once."""

    def __init__(self) -> None:
        """Raises where a file is not what it should be, or English lacks a template."""
        # Plain text is not escaped, whatever is in it; what becomes HTML is escaped there.
        self._environment = SandboxedEnvironment(autoescape=False, undefined=ChainableUndefined)
        self._languages: dict[str, Mapping[Template, Words]] = {
            path.stem: _FILE.validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
            for path in HERE.glob("*.toml")
        }
        missing = set(Template) - self._languages[FALLBACK].keys()
        if missing:
            raise ValueError(f"no English words for {sorted(missing)}")

    @property
    def languages(self) -> frozenset[str]:
        """The languages that have a file."""
        return frozenset(self._languages)

    def language(self, locale: str) -> str:
        """The locale's language where there are words in it, else English; a region counts only as its language."""
        language = language_of(locale)
        return language if language in self._languages else FALLBACK

    def words(self, template: Template, language: str) -> Words:
        """What is said by everybody who has no words of their own."""
        return self._languages.get(language, {}).get(template) or self._languages[FALLBACK][template]

    def letter(self, message: Message, own: OwnTemplate | None = None) -> Letter:
        """The template in the message's language, else in English; in a tenant's own words where it has some."""
        words = own.words if own else self.words(message.template, self.language(message.locale))
        if message.channel is not Channel.EMAIL:
            content = _content(message, own.registered) if own else None
            text = self._filled(words.short, message).strip()
            return Letter(text=text, content=content if message.channel is Channel.WHATSAPP else None)
        subject = " ".join(self._filled(words.subject, message).split())
        return Letter(text=self._filled(words.text, message).strip() + "\n", subject=subject)

    def html(self, text: str, brand: Brand, language: str) -> str:
        """An e-mail's text with its sender's looks."""
        return html_of(text, brand, language)

    def _filled(self, words: str, message: Message) -> str:
        return self._environment.from_string(words).render(message.params)


def _content(message: Message, registered: Registered) -> Content | None:
    if registered.content_sid is None:
        return None
    # Places hold one line each (Twilio, "Content variables").
    values = (" ".join(message.params.get(name, "").split()) or "-" for name in registered.content_variables)
    return Content(sid=registered.content_sid, variables=tuple(values))
