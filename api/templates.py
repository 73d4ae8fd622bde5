"""A tenant's own words: shown beside everybody's, checked before they are kept, looked at before they are said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from babel import Locale, UnknownLocaleError

from adapters.texts import FALLBACK, FileTexts
from adapters.texts.checking import word_problems
from api.problems import invalid
from api.schemas.messaging import PreviewView, TemplateInput, TemplateView
from models.errors import Code, FieldError, VisitNowError, not_found
from models.identity import Principal, Tenant
from models.messaging import Channel, Message, Template
from models.notice_facts import EXAMPLE
from models.notice_kinds import KINDS
from models.templates import OwnTemplate, Registered, Templates, Words

_GSM: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà^{}\\[~]|€"
)
"""GSM 03.38, its extension included; anything else makes every letter take two bytes."""


class TemplateDesk:
    """What a clinic says."""

    def __init__(self, templates: Templates, texts: FileTexts) -> None:
        """The tenants' words and everybody's."""
        self._templates = templates
        self._texts = texts

    async def all(self, caller: Principal) -> list[TemplateView]:
        """Every template in every language that there are words in."""
        found = await self._templates.all_newest(Tenant(caller.tenant_id), caller.tenant_id)
        own = {(one.key, one.language): one for one in found}
        wanted = {(key, language) for key in KINDS for language in self._texts.languages} | own.keys()
        return [self._view(key, language, own.get((key, language))) for key, language in sorted(wanted)]

    async def put(self, caller: Principal, key: Template, body: TemplateInput, replaces: int) -> TemplateView:
        """The next version. Raises `invalid` for words that cannot be said, `stale` and `not_found`."""
        check(key, body.language, body.words, body)
        now = await self._newest(caller, key, body.language)
        if (now.version if now else 0) != replaces:
            raise VisitNowError(Code.STALE)
        template = OwnTemplate(
            tenant_id=caller.tenant_id,
            key=key,
            language=body.language,
            version=replaces + 1,
            words=body.words,
            registered=Registered.model_validate(body.model_dump(include=set(Registered.model_fields))),
            changed_by=caller.subject,
            changed_at=datetime.now(UTC),
        )
        await self._templates.add(Tenant(caller.tenant_id), template)
        return self._view(key, body.language, template)

    async def preview(self, caller: Principal, key: Template, language: str, words: Words | None) -> PreviewView:
        """How it would look. Raises `invalid` as `put` does."""
        if words is not None:
            check(key, language, words, Registered())
        else:
            own = await self._newest(caller, key, language)
            words = own.words if own else self._texts.words(key, self._texts.language(language))
        return self._filled(caller, key, language, words)

    async def _newest(self, caller: Principal, key: Template, language: str) -> OwnTemplate | None:
        return await self._templates.newest(Tenant(caller.tenant_id), caller.tenant_id, key, language)

    def _view(self, key: Template, language: str, own: OwnTemplate | None) -> TemplateView:
        kind = KINDS[key]
        words = self._texts.words(key, self._texts.language(language))
        return TemplateView.of(own, key, language, words, (sorted(kind.variables), kind.is_promotional))

    def _filled(self, caller: Principal, key: Template, language: str, words: Words) -> PreviewView:
        now = datetime.now(UTC)
        own = OwnTemplate(
            tenant_id=caller.tenant_id,
            key=key,
            language=language,
            version=1,
            words=words,
            changed_by=caller.subject,
            changed_at=now,
        )
        message = Message(
            id="preview",
            tenant_id=caller.tenant_id,
            subject_id=caller.subject,
            channel=Channel.SMS,
            to="nobody",
            template=key,
            params={name: EXAMPLE.get(name, "") for name in KINDS[key].variables},
            locale=language or FALLBACK,
            expires_at=now + timedelta(minutes=1),
        )
        short = self._texts.letter(message, own).text
        mail = self._texts.letter(message.model_copy(update={"channel": Channel.EMAIL}), own)
        return PreviewView(short=short, segments=segments(short), subject=mail.subject or "", text=mail.text)


def check(key: Template, language: str, words: Words, registered: Registered) -> None:
    """Refuse words that cannot be said. Raises `not_found` for a template that is not a tenant's, and `invalid`."""
    kind = KINDS.get(key)
    if kind is None:
        raise not_found()
    try:
        Locale.parse(language)
    except (UnknownLocaleError, ValueError) as error:
        raise invalid("language", "unknown_language", "must be a language whose dates we can write") from error
    problems = word_problems(words.model_dump(), kind.variables, required=True)
    errors = [FieldError(f"words.{one.field}", one.code, one.message) for one in problems]
    if unknown := set(registered.content_variables) - set(kind.variables):
        errors.append(FieldError("content_variables", "unknown_variable", f"{len(unknown)} of them are unknown"))
    if errors:
        raise VisitNowError(Code.INVALID, errors=errors)


def segments(text: str) -> int:
    """How many text messages carry it: 160 letters of the phones' alphabet or 70 of any other, less when several."""
    one, each = (160, 153) if set(text) <= _GSM else (70, 67)
    return 1 if len(text) <= one else -(-len(text) // each)
