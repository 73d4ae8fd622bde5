"""By which channels somebody is written to, and in which order."""

from __future__ import annotations

from typing import Final, NamedTuple

from models.identity import Account
from models.messaging import Channel

USUAL: Final = (Channel.WHATSAPP, Channel.SMS, Channel.EMAIL)
"""The order where the reader prefers none."""

RECEIPTS: Final = frozenset({Channel.WHATSAPP, Channel.SMS})
"""Channels that say whether a message has arrived."""


class Reach(NamedTuple):
    """What decides how somebody can be written to."""

    recipient: Account
    configured: frozenset[Channel]
    """Channels that have a carrier."""
    whatsapp: bool
    """Whether they agreed to WhatsApp, and what is to be said is approved there."""
    preferred: Channel | None = None


def address_of(recipient: Account, channel: Channel) -> str | None:
    """Where a channel finds them."""
    return recipient.email if channel is Channel.EMAIL else recipient.phone


def channels_for(reach: Reach) -> tuple[Channel, ...]:
    """Channels to try one after the other: what the reader prefers, then the usual order."""
    usual = USUAL if reach.preferred is None else (reach.preferred, *(one for one in USUAL if one != reach.preferred))
    return tuple(
        channel
        for channel in usual
        if channel in reach.configured
        and address_of(reach.recipient, channel)
        and (channel is not Channel.WHATSAPP or reach.whatsapp)
    )
