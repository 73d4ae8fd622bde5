"""The words of messages: one file per language, one table per template.

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

from models.messaging import Channel, Letter, Message, Template

HERE: Final = Path(__file__).parent
FALLBACK: Final = "en"

_FILE: Final = TypeAdapter(dict[Template, dict[str, str]])


class FileTexts:
    """Implements `models.ports.Texts`; the files are read once."""

    def __init__(self) -> None:
        """Raises where a file is not what it should be, or English lacks a template."""
        # Plain text is not escaped, whatever is in it: no mail of ours carries HTML.
        self._environment = SandboxedEnvironment(autoescape=False, undefined=ChainableUndefined)
        self._languages: dict[str, Mapping[Template, Mapping[str, str]]] = {
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
        language = locale.replace("_", "-").partition("-")[0].lower()
        return language if language in self._languages else FALLBACK

    def is_approved(self, template: Template, language: str) -> bool:
        """Never: what is shipped has been approved for nobody's account."""
        del template, language
        return False

    def letter(self, message: Message) -> Letter:
        """The template in the message's language, else in English."""
        language = self._languages[self.language(message.locale)]
        words = language.get(message.template) or self._languages[FALLBACK][message.template]
        if message.channel is not Channel.EMAIL:
            return Letter(text=self._filled(words["short"], message).strip())
        subject = " ".join(self._filled(words["subject"], message).split())
        return Letter(text=self._filled(words["text"], message).strip() + "\n", subject=subject)

    def _filled(self, words: str, message: Message) -> str:
        return self._environment.from_string(words).render(message.params)
