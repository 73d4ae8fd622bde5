"""The routers' class: one that is not meant is passed over with one look at the path, not with one at each route."""

from __future__ import annotations

from functools import cached_property

from fastapi import APIRouter
from starlette.routing import Match
from starlette.types import Scope


class Router(APIRouter):
    """An `APIRouter` whose routes are compared with a path only where it begins like one of them.

    The framework asks one router after the other and each of them for its routes; with thirty routers that cost more
    than everything else about a trivial request. Complete before the first request: a later route is not found.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether one of the routes serves the path."""
        # Behind a root path the framework takes that off first.
        if scope.get("root_path") or scope["path"].startswith(self._beginnings):
            return super().matches(scope)
        return Match.NONE, {}

    @cached_property
    def _beginnings(self) -> tuple[str, ...]:
        """What the routes' paths begin with, up to their first parameter."""
        return tuple({str(getattr(route, "path", "")).partition("{")[0] for route in self.routes})
