"""What stands where an installation has nobody to write to people: it says so, and whoever asked tries again later."""

from __future__ import annotations

from models.errors import UnavailableError
from models.identity import Invitation, Scope


class NoInvites:
    """Implements `models.ports.Invites` by refusing."""

    async def issue(self, scope: Scope, invitation: Invitation) -> None:
        """Raise `UnavailableError`."""
        del scope
        raise UnavailableError(f"no way to invite a {invitation.role} is configured")
