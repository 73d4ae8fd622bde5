"""Uploaded files: what they are, what is refused, and names that are safe to show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.files import MAX_NAME, Suspicion, media_type_of, safe_name

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff\xe0"
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}" + b"$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


@pytest.mark.parametrize(
    "polyglot",
    [
        PNG + b"tEXt%PDF-1.4 /JavaScript",
        JPEG + b"JFIF <script>alert(1)</script>",
        JPEG + b"<HTML>",
        PNG + b"<svg onload=x>",
        b"%PDF-1.4 <!DOCTYPE html>",
        b"%PDF-1.4 %PDF-1.7",
        b"GIF89a%PDF-1.4",
        b" %PDF-1.4",
        b"PK\x03\x04",
        b"#!/bin/sh",
    ],
)
def test_what_is_two_things_at_once_or_none_of_ours_is_nothing(polyglot: bytes) -> None:
    assert media_type_of(polyglot) is None


def _is_suspicious(content: bytes, cuts: list[int]) -> bool:
    suspicion, start = Suspicion(), 0
    for end in [*sorted(cuts), len(content)]:
        suspicion.look(content[start:end])
        start = end
    return suspicion.raised


@given(st.sampled_from([EICAR, b"/JavaScript", b"/Launch", b"/EmbeddedFile", b"/RichMedia"]), st.data())
def test_a_signature_is_seen_however_the_file_is_cut(signature: bytes, data: st.DataObject) -> None:
    before, after = data.draw(st.binary(max_size=200)), data.draw(st.binary(max_size=200))
    content = b"%PDF-1.4" + before + signature + after
    cuts = data.draw(st.lists(st.integers(0, len(content)), max_size=8))
    assert _is_suspicious(content, cuts)


def test_a_picture_may_hold_what_only_a_pdf_may_not() -> None:
    assert not _is_suspicious(PNG + b"/JavaScript", [3])
    assert _is_suspicious(PNG + EICAR, [3, 20])
    assert not _is_suspicious(b"", [])


@pytest.mark.parametrize(
    ("given_name", "shown"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\n\\scan.png", "scan.png"),
        ("/", "document"),
        ("..", "document"),
        ("", "document"),
        ("a\r\nSet-Cookie: x.pdf", "aSet-Cookie: x.pdf"),
        ("gpj.\u202efdp.pdf", "gpj.fdp.pdf"),
        ("\x00\x1b[31m.png", "[31m.png"),
        ("रिपोर्ट.pdf", "रिपोर्ट.pdf"),
        ("x" * 500 + ".pdf", "x" * (MAX_NAME - 4) + ".pdf"),
        ("x." + "y" * 500, ("x." + "y" * 500)[:MAX_NAME]),
    ],
)
def test_a_name_is_made_safe(given_name: str, shown: str) -> None:
    assert safe_name(given_name) == shown


@given(st.text(max_size=400))
def test_every_name_becomes_one_line_that_can_be_shown(name: str) -> None:
    shown = safe_name(name)
    assert 0 < len(shown) <= MAX_NAME
    assert shown.isprintable()
    assert "/" not in shown
    assert "\\" not in shown
