"""Invitations by e-mail: a signed link that is good once."""

from __future__ import annotations

from datetime import UTC, datetime

from adapters.tokens import Purpose, PurposeTokens
from models.identity import Invitation, Scope
from models.identity_ports import Invitations
from models.messaging import Channel, Message, Template
from models.notice_ports import Messenger


class MailedInvites:
    """Implements `models.ports.Invites`."""

    def __init__(self, invites: Invitations, messenger: Messenger, tokens: PurposeTokens, public_url: str) -> None:
        """`public_url` is the site whose page asks for the name and the password."""
        self._invites = invites
        self._messenger = messenger
        self._tokens = tokens
        self._public_url = public_url

    async def issue(self, scope: Scope, invitation: Invitation) -> None:
        """Keep it and send its link, once per id."""
        await self._invites.add(scope, invitation)
        token = self._tokens.mint(Purpose.INVITE, invitation.id, "", invitation.expires_at, datetime.now(UTC))
        await self._messenger.send(
            Message(
                id=invitation.id,
                tenant_id=invitation.tenant_id,
                subject_id=invitation.id,
                channel=Channel.EMAIL,
                to=invitation.email,
                template=Template.INVITE,
                params={"link": f"{self._public_url}/invites/accept?token={token}"},
                expires_at=invitation.expires_at,
            )
        )
