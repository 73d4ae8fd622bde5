"""For how long what is kept of people stays, by a tenant's settings."""

from __future__ import annotations

from datetime import timedelta

from models.data_classes import RetentionClass
from models.policy import TenantPolicy


def retention(policy: TenantPolicy, retained_under: RetentionClass) -> timedelta:
    """How long something is kept once its purpose has ended; nothing where no rule keeps it."""
    if retained_under is RetentionClass.NONE:
        return timedelta()
    return timedelta(days=getattr(policy.retention_days, retained_under))
