"""The fingerprint of a request's body."""

from datetime import UTC, datetime, timedelta, timezone

from models.base import Model, UtcDatetime
from models.idempotency import body_hash

SECRET = b"made-up"


class Body(Model):
    start: UtcDatetime
    reason: str | None = None
    count: int = 1


START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_the_same_meaning_has_the_same_fingerprint() -> None:
    india = timezone(timedelta(hours=5, minutes=30))
    written_otherwise = Body(count=1, reason=None, start=datetime(2026, 3, 1, 17, 30, tzinfo=india))
    assert body_hash(SECRET, Body(start=START)) == body_hash(SECRET, written_otherwise)


def test_any_other_meaning_has_another() -> None:
    bodies = [
        Body(start=START),
        Body(start=START + timedelta(minutes=5)),
        Body(start=START, reason=""),
        Body(start=START, reason="1"),
        Body(start=START, count=2),
    ]
    assert len({body_hash(SECRET, body) for body in bodies}) == len(bodies)


def test_without_the_secret_nothing_can_be_compared() -> None:
    assert body_hash(SECRET, Body(start=START)) != body_hash(b"another", Body(start=START))
