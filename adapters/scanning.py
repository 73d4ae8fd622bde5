"""What looks into uploaded files. There is no virus scanner here: a real one takes this class's place at the port."""

from __future__ import annotations

import asyncio

from models.files import is_suspicious


class SignatureScanner:
    """Implements `models.onboarding_ports.Scanner` by a few signatures of what no certificate carries."""

    name = "signature check"

    async def is_clean(self, content: bytes) -> bool:
        """Whether none of the signatures is in it."""
        return not await asyncio.to_thread(is_suspicious, content)
