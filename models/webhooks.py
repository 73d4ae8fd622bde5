"""Reading the payment gateway's webhooks: only ids and names pass, since the raw bodies carry personal data."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Final

from models.payments import WebhookEvent

_EVENT_TYPE: Final = re.compile(r"[a-z0-9_.]{1,64}")
_EVENT_ID: Final = re.compile(r"[A-Za-z0-9_:.-]{1,64}")
_ENTITY_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
_LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)


def webhook_event(body: bytes, event_id: str | None, received_at: datetime) -> WebhookEvent:
    """The allow-listed part of a webhook whose signature was found genuine.

    Without a usable event id (a header, which the signature does not cover) the body's own hash stands in, so that
    the same body is still kept once. Raises `ValueError` where the body is not the gateway's envelope.
    """
    try:
        document: object = json.loads(body)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    kind = _text(document, _EVENT_TYPE, "event")
    if kind is None:
        raise ValueError("not an event")
    digest = hashlib.sha256(body).hexdigest()
    payment_order = _text(document, _ENTITY_ID, "payload", "payment", "entity", "order_id")
    refund_receipt = _text(document, _ENTITY_ID, "payload", "refund", "entity", "receipt")
    return WebhookEvent(
        id=event_id if event_id is not None and _EVENT_ID.fullmatch(event_id) else f"body-{digest[:32]}",
        type=kind,
        payment_id=_text(document, _ENTITY_ID, "payload", "payment", "entity", "id"),
        order_id=payment_order or _text(document, _ENTITY_ID, "payload", "order", "entity", "id"),
        refund_id=_text(document, _ENTITY_ID, "payload", "refund", "entity", "id"),
        receipt=refund_receipt or _text(document, _ENTITY_ID, "payload", "order", "entity", "receipt"),
        raw_sha256=digest,
        created_at=_instant(document, received_at),
    )


def _at(document: object, *path: str) -> object:
    for name in path:
        if not isinstance(document, dict):
            return None
        document = document.get(name)
    return document


def _text(document: object, pattern: re.Pattern[str], *path: str) -> str | None:
    value = _at(document, *path)
    return value if isinstance(value, str) and pattern.fullmatch(value) else None


def _instant(document: object, received_at: datetime) -> datetime:
    """When the event came about (seconds since 1970), as long as that is a plausible time."""
    seconds = _at(document, "created_at")
    if isinstance(seconds, int) and 0 < seconds < _LATEST.timestamp():
        return datetime.fromtimestamp(seconds, UTC)
    return received_at
