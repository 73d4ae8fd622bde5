"""Searches, answered from memory or Redis while nothing has changed.

This process believes an answer for a second, all processes share one for some seconds more; a change drops both at
once here and by a new epoch in Redis elsewhere. Without Redis every process computes for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Final

from adapters.redis.pages import Pages
from api.free_times import Subscription
from api.schemas.providers import ProviderPage, ProviderView
from models.cache import FreshCache
from models.errors import UnavailableError
from models.identity import Public
from models.ports import Directory, Search
from models.providers import Listing
from models.search import Found, SearchQuery

FRESH_SECONDS: Final = 1.0


class Searching:
    """Pages of search results as JSON."""

    def __init__(
        self,
        search: Search,
        directory: Directory,
        pages: Pages,
        subscription: Subscription,
        background: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        """`background` runs what nobody waits for; without the subscription Redis is taken for away."""
        self._search = search
        self._directory = directory
        self._pages = pages
        self._subscription = subscription
        self._background = background
        self._answers: FreshCache[str, bytes] = FreshCache(FRESH_SECONDS)

    def changed(self) -> None:
        """Forget everything that is kept in this process."""
        self._answers = FreshCache(FRESH_SECONDS)

    async def answer(self, query: SearchQuery, limit: int, cursor: str | None) -> bytes:
        """One page as the JSON of a `ProviderPage`. Raises `ValueError` for another search's cursor."""
        question = f"{limit} {cursor or ''} {query.model_dump_json(exclude_none=True)}"
        return await self._answers.get(question, lambda: self._shared(question, query, limit, cursor))

    async def known(self, provider_id: str) -> Found | None:
        """What searches know of one provider beside the profile."""
        return await self._search.find(Public(), provider_id)

    async def _shared(self, question: str, query: SearchQuery, limit: int, cursor: str | None) -> bytes:
        if not self._subscription.connected:
            return await self._computed(query, limit, cursor)
        epoch: bytes | None = None
        with suppress(UnavailableError):
            epoch, kept = await self._pages.get(question)
            if kept is not None:
                return kept
        body = await self._computed(query, limit, cursor)
        if epoch is not None:
            self._background(self._pages.put(question, epoch, body))
        return body

    async def _computed(self, query: SearchQuery, limit: int, cursor: str | None) -> bytes:
        page = await self._search.page(Public(), query, limit, cursor)
        facets = await self._search.facets(Public(), query)
        items = await self._views(page.items)
        return ProviderPage(items=items, next_cursor=page.next_cursor, facets=facets).model_dump_json().encode()

    async def _views(self, found: Sequence[Found]) -> list[ProviderView]:
        profiles = await self._directory.profiles(Public(), [one.provider_id for one in found])
        clinics = await self._directory.clinics(Public(), [one.clinic_id for one in profiles.values()])
        views = []
        for one in found:
            provider = profiles.get(one.provider_id)
            # Whoever went out of service a moment ago is in the projection still.
            if provider is not None and provider.clinic_id in clinics:
                listing = Listing(provider=provider, clinic=clinics[provider.clinic_id])
                views.append(ProviderView.of(listing).with_found(one))
        return views
