"""What a sign-in answers."""

from __future__ import annotations

from api.schemas.identity import TokenSet, UserView
from api.sessions import Issued


def token_set(issued: Issued) -> TokenSet:
    """What a client gets."""
    return TokenSet(
        access_token=issued.access_token, refresh_token=issued.refresh_token, user=UserView.of(issued.account)
    )
