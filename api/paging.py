"""Lists: `limit` and `cursor`, the same on every route."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from models.base import Model
from models.cursor import MAX_CURSOR_LENGTH

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100


class Paging(Model):
    """The query parameters of every list."""

    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="Items per page.")
    cursor: str | None = Field(
        default=None,
        max_length=MAX_CURSOR_LENGTH,
        description="`next_cursor` of the page before; absent: the first page.",
    )
