"""What a person sees on their phone or in their mailbox: a list of all inboxes, and each with its messages."""

from __future__ import annotations

from collections import Counter

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sandbox.messages import Messages
from sandbox.pages import Renderer

SHOWN_MESSAGES = 100
CHANNEL_NAMES = {"sms": "SMS", "whatsapp": "WhatsApp", "email": "E-mail"}


class Inboxes:
    """Renders the inboxes; an open one looks for new messages every two seconds."""

    def __init__(self, messages: Messages, renderer: Renderer) -> None:
        """Show these messages."""
        self._messages = messages
        self._renderer = renderer

    def routes(self) -> list[BaseRoute]:
        """List the routes of the pages."""
        return [
            Route("/inbox", self._list, methods=["GET"]),
            Route("/inbox/{address}", self._show, methods=["GET"]),
        ]

    async def _list(self, _: Request) -> Response:
        newest = self._messages.newest()
        counts = Counter(message.to for message in newest)
        latest = {message.to: message for message in reversed(newest)}
        inboxes = sorted(latest.values(), key=lambda message: message.created_at, reverse=True)
        return self._renderer.render("inboxes.html", inboxes=inboxes, counts=counts, channels=CHANNEL_NAMES)

    async def _show(self, request: Request) -> Response:
        address: str = request.path_params["address"]
        messages = self._messages.newest(address)
        return self._renderer.render(
            "inbox.html",
            address=messages[0].to if messages else address,
            messages=messages[:SHOWN_MESSAGES],
            channels=CHANNEL_NAMES,
        )
