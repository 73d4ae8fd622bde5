"""A tenant's own words for what its patients are told: versions that are only ever added, per template and language.

In India a text message's words must be those of the template that is registered with the operators (DLT, by its id),
and WhatsApp takes, outside a conversation, only contents that it has approved (by their ContentSid).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Protocol, Self

from pydantic import Field, StringConstraints, model_validator

from models.base import Id, Model, UtcDatetime
from models.identity import Scope
from models.messaging import Template

LONGEST_SHORT: Final = 800
LONGEST_TEXT: Final = 8_000

TemplateLanguage = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")]


class Words(Model):
    """What a template says: `short` by SMS and WhatsApp, `subject` and `text` by e-mail. Jinja, with its variables."""

    short: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_SHORT)]
    subject: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    text: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TEXT)]


class Registered(Model):
    """Under what others know the words."""

    dlt_template_id: Annotated[str, StringConstraints(pattern=r"^[0-9]{10,25}$")] | None = Field(
        default=None, description="The SMS template's id with the operators."
    )
    content_sid: Annotated[str, StringConstraints(pattern=r"^HX[0-9a-f]{32}$")] | None = Field(
        default=None, description="The approved WhatsApp content; absent: nothing is said on WhatsApp."
    )
    content_variables: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")], ...] = Field(
        default=(), max_length=20, description="The variables that fill the content's places 1, 2, …"
    )

    @model_validator(mode="after")
    def _content_is_known_again(self) -> Self:
        # What fills it is all by which a message whose answer was lost is found at the provider.
        if self.content_sid is not None and "reference" not in self.content_variables:
            msg = "a content's variables must have the reference among them"
            raise ValueError(msg)
        return self


class OwnTemplate(Model):
    """One version of a tenant's words in one language."""

    tenant_id: Id
    key: Template
    language: TemplateLanguage
    version: int = Field(ge=1)
    words: Words
    registered: Registered = Registered()
    changed_by: Id
    changed_at: UtcDatetime


class Templates(Protocol):
    """The tenants' own words."""

    async def newest(self, scope: Scope, tenant_id: str, key: Template, language: str) -> OwnTemplate | None:
        """What is said now; None where it is what everybody says."""
        ...

    async def all_newest(self, scope: Scope, tenant_id: str) -> Sequence[OwnTemplate]:
        """Everything that a tenant says in words of its own."""
        ...

    async def add(self, scope: Scope, template: OwnTemplate) -> None:
        """The next version. Raises `stale` where somebody has made one of that number."""
        ...
