"""Links open one thing for one person, for a while."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import Code, VisitNowError
from models.links import Link, LinkPurpose, link_token, read_link

SECRET = b"s" * 32
NOW = datetime(2027, 1, 5, 10, tzinfo=UTC)
LINK = Link(
    purpose=LinkPurpose.ATTEND,
    tenant_id="tnt_1",
    appointment_id="apt_1",
    subject_id="usr_1",
    expires_at=NOW + timedelta(hours=1),
)


def code_of(purpose: LinkPurpose, token: str, now: datetime = NOW, secret: bytes = SECRET) -> Code:
    with pytest.raises(VisitNowError) as refused:
        read_link(secret, purpose, token, now)
    return refused.value.code


def test_it_opens_what_it_was_made_for() -> None:
    assert read_link(SECRET, LinkPurpose.ATTEND, link_token(SECRET, LINK), NOW) == LINK


def test_it_opens_nothing_else() -> None:
    token = link_token(SECRET, LINK)
    assert code_of(LinkPurpose.REVIEW, token) is Code.TOKEN_INVALID
    assert code_of(LinkPurpose.ATTEND, token, secret=b"t" * 32) is Code.TOKEN_INVALID
    assert code_of(LinkPurpose.ATTEND, token, now=LINK.expires_at) is Code.TOKEN_EXPIRED


@given(position=st.integers(0, 10_000), letter=st.characters(min_codepoint=33, max_codepoint=126))
def test_a_changed_letter_makes_it_worthless(position: int, letter: str) -> None:
    token = link_token(SECRET, LINK)
    at = position % len(token)
    changed = token[:at] + letter + token[at + 1 :]
    if changed != token:
        assert code_of(LinkPurpose.ATTEND, changed) is Code.TOKEN_INVALID


@given(st.text(max_size=500))
def test_any_text_is_refused_politely(text: str) -> None:
    assert code_of(LinkPurpose.ATTEND, text) is Code.TOKEN_INVALID
