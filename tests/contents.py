"""What a database holds, as one digest for each collection: the server makes them faster than anybody could read it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

DIGESTS: Final = "dbHash"
"""The command; its answer covers every document of every collection, in the order of their ids."""

EMPTY: Final = "d41d8cd98f00b204e9800998ecf8427e"
"""The digest of a collection without documents: MD5 of nothing."""


def digests(answer: Mapping[str, Any], *, without: Collection[str] = ()) -> dict[str, str]:
    """Each collection's digest out of the command's answer."""
    assert answer["collections"], "no collections: nothing could ever change"
    return {name: digest for name, digest in answer["collections"].items() if name not in without}
