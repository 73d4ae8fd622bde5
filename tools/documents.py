"""Write the pages of docs/ that say what the code says, the OpenAPI document among them: `make openapi`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from adapters.settings import PREFIX, Settings, production_problems
from api.app import create_app
from models.data_classes import RetentionClass
from models.errors import ERRORS, Retry
from models.export_shapes import schema_of
from models.exports import ExportKind
from models.holdings import Holding, Treatment, by_collection

DOCS: Final = Path(__file__).parents[1] / "docs"

ERRORS_HEAD: Final = """\
# Codes

Written by `make openapi` from `models/errors.py`.

Every refusal is an RFC 9457 problem (`application/problem+json`) with one of these codes in `code`. A code is never
renamed and never changes its status. *Retry*: whether sending the same request again can help; where it can, a
`Retry-After` header says in how many seconds. *Tell*: what a person should be told.

| code | status | retry | what it means | tell |
| --- | --- | --- | --- | --- |
"""

CONFIGURATION_HEAD: Final = """\
# Configuration

Written by `make openapi` from `adapters/settings.py`.

Every setting is an environment variable. The development profile needs none of them; the production profile refuses to
start unless those marked so are set, and refuses development secrets, sandbox and loopback addresses, plain HTTP, and
databases without credentials. Keys are made with `openssl rand -base64 32`; the key-encryption key with
`openssl rand -base64 96 | tr -d '\\n'`.

| variable | default | production | meaning |
| --- | --- | --- | --- |
"""


HOLDINGS_HEAD: Final = """\
# What is kept of patients

Written by `make openapi` from `models/holdings.py`, the one table that erasing, exporting and retention go by; a test
fails for a collection without a line.

*Whose*: where the patient's id stands. *Sealed*: what is encrypted under a key of the patient's own, and of which
class; destroying that key makes every copy unreadable. *Erased*: what becomes of it when somebody is forgotten and the
time of its class is over; what is *blanked* loses its sealed parts and texts and keeps ids, times and amounts. *Kept*:
the class whose time counts after that (`retention_days` in a tenant's settings; by default identity 365 days, clinical
3 years, financial 8 years, logs 365 days). *Given*: whether it is part of an export.

| collection | whose | sealed | erased | kept | given | why it stays |
| --- | --- | --- | --- | --- | --- | --- |
"""


def openapi_document() -> str:
    """The OpenAPI document as JSON."""
    return json.dumps(create_app(Settings.model_construct()).openapi(), indent=2, ensure_ascii=False) + "\n"


def errors_page() -> str:
    """The table of codes."""
    rows = [
        f"| `{code}` | {kind.status} | {'yes' if kind.retry is Retry.HELPS else 'no'} | {kind.title} | {kind.advice} |"
        for code, kind in ERRORS.items()
    ]
    return ERRORS_HEAD + "\n".join(rows) + "\n"


def configuration_page() -> str:
    """The table of settings."""
    refused = " ".join(production_problems(Settings.model_construct()))
    rows = [_row(name, field, refused) for name, field in Settings.model_fields.items()]
    return CONFIGURATION_HEAD + "\n".join(rows) + "\n"


def holdings_page() -> str:
    """The table of what is kept of patients."""
    rows = [_kept(one) for lines in by_collection().values() for one in lines]
    return HOLDINGS_HEAD + "\n".join(rows) + "\n"


_KEPT: Final = {RetentionClass.NONE: "no longer"}
_ERASED: Final = {Treatment.DELETE: "removed", Treatment.BLANK: "blanked", Treatment.KEEP: "stays"}


def _kept(one: Holding) -> str:
    whose = f"`{one.subject_field}`" if one.subject_field else ""
    sealed = f"`{one.sealed}`, {one.data_class}" if one.sealed else ""
    erased = "" if one.subject_field is None and one.treatment is Treatment.KEEP else _ERASED[one.treatment]
    kept = "" if one.treatment is Treatment.KEEP else _KEPT.get(one.retained_under, one.retained_under)
    given = "yes" if one.exported else ""
    return f"| `{one.collection}` | {whose} | {sealed} | {erased} | {kept} | {given} | {one.reason} |"


def export_schema() -> str:
    """The JSON Schema of a person's export."""
    return json.dumps(schema_of(ExportKind.SUBJECT), indent=2, ensure_ascii=False) + "\n"


def _row(name: str, field: FieldInfo, refused: str) -> str:
    variable = PREFIX + name.upper()
    required = "must be set" if f"{variable} " in f"{refused} " else ""
    return f"| `{variable}` | {_default(field)} | {required} | {field.description} |"


def _default(field: FieldInfo) -> str:
    default = field.default
    if default is None:
        return ""
    if isinstance(default, SecretStr):
        text = default.get_secret_value()
        return f"`{text}`" if text.startswith(("redis://", "mongodb://")) else "for development" if text else "empty"
    return f"`{default}`"


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "openapi.json": openapi_document,
    "errors.md": errors_page,
    "configuration.md": configuration_page,
    "holdings.md": holdings_page,
    "export.schema.json": export_schema,
}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
