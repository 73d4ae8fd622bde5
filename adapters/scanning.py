"""What looks into uploaded files. There is no virus scanner here: a real one takes this class's place at the port."""

from __future__ import annotations

from collections.abc import AsyncIterator

from models.files import Suspicion


class SignatureScanner:
    """Implements `models.documents_ports.Scanner` by a few signatures of what no certificate or report carries."""

    name = "signature check"

    async def is_clean(self, pieces: AsyncIterator[bytes]) -> bool:
        """Whether none of the signatures is in it."""
        suspicion = Suspicion()
        async for piece in pieces:
            suspicion.look(piece)
            if suspicion.raised:
                return False
        return True
