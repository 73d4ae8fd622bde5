"""A legal hold, as whoever answers for the platform places one."""

from __future__ import annotations

from datetime import datetime

from models.data_classes import RetentionClass
from models.holds import HoldReason, LegalHold
from models.ids import random_id


def a_hold(subject_id: str, retained_under: RetentionClass | None, placed_at: datetime, until: datetime) -> LegalHold:
    """On one class of what is kept of somebody, or on all of it."""
    return LegalHold(
        id=random_id("hld"),
        subject_id=subject_id,
        retained_under=retained_under,
        reason=HoldReason.COURT_ORDER,
        reference="WP-1234/2026",
        placed_by="usr_admin",
        placed_at=placed_at,
        until=until,
    )
