"""A tenant's settings over the wire."""

from __future__ import annotations

from pydantic import BaseModel, Field

from models.base import UtcDatetime
from models.tenancy import SettingsVersion, TenantSettings


class SettingsVersionView(BaseModel):
    """Settings that were replaced, or that hold now."""

    version: int
    settings: TenantSettings
    changed_by: str | None = Field(description="The admin's id; null for what the tenant began with.")
    changed_at: UtcDatetime | None

    @classmethod
    def of(cls, version: SettingsVersion) -> SettingsVersionView:
        """One version."""
        return cls(
            version=version.version,
            settings=version.settings,
            changed_by=version.changed_by,
            changed_at=version.changed_at,
        )


class SettingsVersionPage(BaseModel):
    """Versions of the settings, newest first."""

    items: list[SettingsVersionView]
    next_cursor: str | None
