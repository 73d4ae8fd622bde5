"""`--policy KEY=VALUE`: tenant policies with other defaults, so that a test's minutes become seconds."""

from __future__ import annotations

import json
from collections.abc import Sequence

import typer
from pydantic import JsonValue, ValidationError

from models.policy import TenantPolicy


def parse_policy(settings: Sequence[str]) -> TenantPolicy:
    """The default policy with `KEY=VALUE` set; a value is JSON or plain text, and one number stands for a list of one.

    Raises `typer.BadParameter` for a key that no policy has or a value that does not fit.
    """
    values: dict[str, JsonValue] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or key not in TenantPolicy.model_fields:
            known = ", ".join(sorted(TenantPolicy.model_fields))
            raise typer.BadParameter(f"{setting!r} is not KEY=VALUE of a policy; the keys are {known}")
        values[key] = _value(key, text)
    try:
        return TenantPolicy.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'policy'}: {one['msg']}" for one in error.errors())
        raise typer.BadParameter(problems) from error


def _value(key: str, text: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text)
    except json.JSONDecodeError:
        value = text
    wants_list = "tuple" in str(TenantPolicy.model_fields[key].annotation)
    return [value] if wants_list and not isinstance(value, list | None) else value
