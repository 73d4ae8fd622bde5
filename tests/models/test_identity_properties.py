"""Sessions, codes, addresses and ages: what holds for every one of them, not only for those in the examples."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Final

import phonenumbers
import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.addresses import MAX_EMAIL, AddressKind, blind_index, normal_email, normal_phone
from models.credentials import (
    MIN_PASSWORD,
    OTP_DIGITS,
    OTP_LIFETIME,
    OTP_SEND_BACKOFF,
    OTP_TRIES,
    PASSWORD_BACKOFF,
    RECOVERY_CODES,
    TOTP_SECONDS,
    Backoff,
    Challenge,
    ChallengeState,
    Verdict,
    code_hash,
    matching_step,
    new_code,
    new_recovery_codes,
    password_problem,
    recovery_hash,
    verdict,
)
from models.dependants import ADULT_YEARS, Dependant, is_minor
from models.sessions import (
    IDLE_LIFETIME,
    LONGEST_LIFETIME,
    REFRESH_TOGETHER,
    EndReason,
    Rotation,
    Session,
    expiry,
    first_token,
    new_session_id,
    rotation,
    session_of,
    successor,
    token_hash,
)

NOW: Final = datetime(2026, 11, 23, 3, 30, tzinfo=UTC)
KEY: Final = b"k" * 32
OTHER_KEY: Final = b"o" * 32

spans = st.timedeltas(timedelta(), timedelta(days=400))
keys = st.binary(min_size=16, max_size=32)
births = st.dates(date(1900, 1, 1), date(2060, 12, 31))
days = st.dates(date(1920, 1, 1), date(2090, 12, 31))


def a_session(token: str, **fields: object) -> Session:
    known: dict[str, object] = {
        "id": session_of(token),
        "tenant_id": "platform",
        "subject_id": "usr_1",
        "token_hash": token_hash(token),
        "rotated_at": NOW,
        "signed_in_at": NOW,
        "expires_at": expiry(NOW, NOW),
    }
    return Session.model_validate({**known, **fields})


# Sessions


@given(after=spans)
def test_the_newest_token_is_good_until_the_session_is_over(after: timedelta) -> None:
    token = first_token(new_session_id())
    session = a_session(token)
    wanted = Rotation.ROTATE if after < IDLE_LIFETIME else Rotation.OVER
    assert rotation(session, token_hash(token), NOW + after) is wanted


@given(
    after=st.timedeltas(
        timedelta(),
        REFRESH_TOGETHER,
    )
)
def test_the_one_before_is_repeated_to_whoever_asks_before_anybody_was_told(after: timedelta) -> None:
    old = first_token(new_session_id())
    session = a_session(successor(KEY, old), previous_hash=token_hash(old))
    wanted = Rotation.REPEAT if after < REFRESH_TOGETHER else Rotation.REUSED
    assert rotation(session, token_hash(old), NOW + after) is wanted


@given(after=spans.filter(lambda one: one >= REFRESH_TOGETHER))
def test_the_one_before_betrays_a_thief_as_soon_as_its_successor_is_told(after: timedelta) -> None:
    old = first_token(new_session_id())
    session = a_session(successor(KEY, old), previous_hash=token_hash(old))
    assert rotation(session, token_hash(old), NOW + after) is (
        Rotation.REUSED if after < IDLE_LIFETIME else Rotation.OVER
    )


@given(steps=st.integers(2, 12), after=st.timedeltas(timedelta(), timedelta(days=29)))
def test_whoever_comes_with_an_older_token_ends_the_family_at_any_time(steps: int, after: timedelta) -> None:
    family = [first_token(new_session_id())]
    for _ in range(steps):
        family.append(successor(KEY, family[-1]))
    session = a_session(family[-1], previous_hash=token_hash(family[-2]))
    verdicts = {rotation(session, token_hash(one), NOW + after) for one in family[:-2]}
    assert verdicts == {Rotation.REUSED}


@given(reason=st.sampled_from(EndReason), after=spans, known=st.booleans())
def test_an_ended_session_gives_nothing_to_anybody(reason: EndReason, after: timedelta, known: bool) -> None:  # noqa: FBT001  an example of hypothesis
    token = first_token(new_session_id())
    session = a_session(token, ended_at=NOW, ended_because=reason)
    presented = token_hash(token if known else first_token(new_session_id()))
    assert not session.is_live(NOW + after)
    wanted = Rotation.REUSED if reason is EndReason.REUSED else Rotation.OVER
    assert rotation(session, presented, NOW + after) is wanted


@given(first=spans, more=spans)
def test_use_makes_a_session_last_longer_but_not_for_ever(first: timedelta, more: timedelta) -> None:
    earlier, later = expiry(NOW, NOW + first), expiry(NOW, NOW + first + more)
    assert earlier <= later <= NOW + LONGEST_LIFETIME
    assert earlier <= NOW + first + IDLE_LIFETIME


@given(key=keys, steps=st.integers(1, 20))
def test_a_family_keeps_its_session_and_never_repeats_a_token(key: bytes, steps: int) -> None:
    session_id = new_session_id()
    family = [first_token(session_id)]
    for _ in range(steps):
        family.append(successor(key, family[-1]))
        assert successor(key, family[-2]) == family[-1]
    assert len({token_hash(one) for one in family}) == steps + 1
    assert {session_of(one) for one in family} == {session_id}
    assert successor(key + b"x", family[0]) != family[1]


# How often somebody may try


@pytest.mark.parametrize("backoff", [PASSWORD_BACKOFF, OTP_SEND_BACKOFF])
def test_a_wait_never_gets_shorter_and_has_an_end(backoff: Backoff) -> None:
    waits = [backoff.after(failures) for failures in range(200)]
    assert waits[0] == 0
    assert waits == sorted(waits)
    assert waits[-1] == max(backoff.seconds)
    assert timedelta(seconds=waits[-1]) < backoff.forget_after


@given(seconds=st.lists(st.integers(0, 10_000), min_size=1, max_size=20), failures=st.integers(1, 10**6))
def test_the_last_step_is_for_all_further_failures(seconds: list[int], failures: int) -> None:
    backoff = Backoff(seconds=tuple(seconds), forget_after=timedelta(days=1))
    assert backoff.after(failures) == (seconds[failures - 1] if failures <= len(seconds) else seconds[-1])


@given(password=st.text(max_size=40), leaked=st.booleans())
def test_only_length_and_leaks_are_held_against_a_password(password: str, leaked: bool) -> None:  # noqa: FBT001  an example of hypothesis
    problem = password_problem(password, leaked=leaked)
    assert (problem is None) == (len(password) >= MIN_PASSWORD and not leaked)
    assert problem is None or not password or len(password) < MIN_PASSWORD or password not in problem


# Codes


def a_challenge(code: str, **fields: object) -> Challenge:
    known: dict[str, object] = {
        "id": "otp_1",
        "tenant_id": "platform",
        "subject_id": "usr_1",
        "phone_index": "i",
        "code_hash": code_hash(KEY, "otp_1", code),
        "created_at": NOW,
        "expires_at": NOW + OTP_LIFETIME,
    }
    return Challenge.model_validate({**known, **fields})


lifetimes = st.timedeltas(timedelta(), OTP_LIFETIME * 2)
codes = st.text("0123456789", min_size=OTP_DIGITS, max_size=OTP_DIGITS)


@given(sent=codes, typed=codes)
def test_a_counted_try_is_right_for_the_code_that_was_sent_only(sent: str, typed: str) -> None:
    challenge = a_challenge(sent)
    wanted = Verdict.RIGHT if sent == typed else Verdict.WRONG
    assert verdict(challenge, challenge, code_hash(KEY, challenge.id, typed), NOW) is wanted
    assert verdict(challenge, challenge, code_hash(KEY, "otp_2", sent), NOW) is Verdict.WRONG
    assert verdict(challenge, challenge, code_hash(OTHER_KEY, challenge.id, sent), NOW) is Verdict.WRONG


@given(tries=st.integers(0, 10), state=st.sampled_from(ChallengeState), after=lifetimes)
def test_a_try_that_cannot_be_counted_is_never_right(tries: int, state: ChallengeState, after: timedelta) -> None:
    challenge = a_challenge("123456", tries=tries, state=state)
    found = verdict(None, challenge, challenge.code_hash, NOW + after)
    used_up = tries >= OTP_TRIES and state is ChallengeState.OPEN and after < OTP_LIFETIME
    assert found is (Verdict.EXHAUSTED if used_up else Verdict.WRONG)
    assert verdict(None, None, challenge.code_hash, NOW + after) is Verdict.WRONG


def test_codes_have_six_digits_zeros_in_front_included() -> None:
    made = {new_code() for _ in range(500)}
    assert all(len(one) == OTP_DIGITS and one.isascii() and one.isdigit() for one in made)
    assert any(one.startswith("0") for one in made)
    assert len(made) > 450


@given(now=st.datetimes(datetime(2020, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC)), steps=st.integers(-4, 4))  # noqa: DTZ001  hypothesis adds the zone
def test_an_authenticator_may_be_one_step_early_or_late(now: datetime, steps: int) -> None:
    secret = pyotp.random_base32()
    current = int(now.timestamp()) // TOTP_SECONDS
    code = pyotp.TOTP(secret).generate_otp(current + steps)
    found = matching_step(secret, f" {code} ", now)
    if abs(steps) <= 1:
        assert found is not None
        assert pyotp.TOTP(secret).generate_otp(found) == code
    else:
        # One code in a million is also a neighbour's: then it is right for that step.
        assert found is None or pyotp.TOTP(secret).generate_otp(found) == code
    assert matching_step(secret, "", now) is None


@given(place=st.integers(0, RECOVERY_CODES - 1), blanks=st.text(" -", max_size=4))
def test_a_recovery_code_counts_however_it_is_typed(place: int, blanks: str) -> None:
    made = new_recovery_codes()
    hashes = [recovery_hash(KEY, "usr_1", one) for one in made]
    assert len(set(hashes)) == RECOVERY_CODES
    typed = f" {made[place].upper().replace('-', blanks)} "
    assert recovery_hash(KEY, "usr_1", typed) == hashes[place]
    assert recovery_hash(KEY, "usr_2", typed) not in hashes


# Addresses


indian_mobiles = st.integers(9_800_000_000, 9_899_999_999).map(str)


@given(number=indian_mobiles, gap=st.sampled_from(["", " ", "-", "."]), front=st.sampled_from(["", "0", "+91", "+91 "]))
def test_one_number_has_one_spelling(number: str, gap: str, front: str) -> None:
    assert normal_phone(f"{front}{number[:5]}{gap}{number[5:]}") == f"+91{number}"


@given(region=st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)))
def test_a_number_of_any_country_stays_as_it_is_once_normal(region: str) -> None:
    example = phonenumbers.example_number(region)
    assert example is not None
    normal = normal_phone(phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.INTERNATIONAL))
    assert normal_phone(normal) == normal
    assert normal.startswith("+")


def spelled(normalise: Callable[[str], str], text: str, refusal: str) -> str | None:
    """The normal spelling; None where the text is refused with exactly these words, which do not repeat it."""
    try:
        return normalise(text)
    except ValueError as error:
        if str(error) != refusal:
            raise
        return None


@given(text=st.text(max_size=30))
def test_whatever_is_taken_as_a_phone_is_normal_and_what_is_refused_is_not_repeated(text: str) -> None:
    normal = spelled(normal_phone, text, "must be a phone number, like +919812345678")
    assert normal is None or normal_phone(normal) == normal


@given(text=st.one_of(st.emails(), st.text(max_size=30), st.text("aA.@ßİ-", max_size=12)))
def test_whatever_is_taken_as_a_mailbox_is_normal_and_what_is_refused_is_not_repeated(text: str) -> None:
    normal = spelled(normal_email, text, "must be an e-mail address")
    if normal is not None:
        assert len(normal) <= MAX_EMAIL
        assert normal_email(normal) == normal
        assert normal_email(f" {text.upper()}\t") == normal or text.upper().casefold() != text.casefold()


@given(address=st.emails())
def test_an_ordinary_mailbox_is_the_same_in_letters_of_either_case(address: str) -> None:
    wanted = spelled(normal_email, address, "must be an e-mail address")
    assert wanted == spelled(normal_email, f" {address.swapcase()} ", "must be an e-mail address")


@given(key=keys, address=st.text(max_size=40), other=st.text(max_size=40))
def test_an_index_is_of_one_address_one_kind_and_one_key(key: bytes, address: str, other: str) -> None:
    phone = blind_index(key, AddressKind.PHONE, address)
    assert phone == blind_index(key, AddressKind.PHONE, address)
    assert phone != blind_index(key, AddressKind.EMAIL, address)
    assert phone != blind_index(key + b"x", AddressKind.PHONE, address)
    assert (phone == blind_index(key, AddressKind.PHONE, other)) == (address == other)
    assert len(phone) == 64


# Ages


@given(born=births, today=days)
def test_somebody_is_of_age_from_the_eighteenth_birthday_on(born: date, today: date) -> None:
    leap = (born.month, born.day) == (2, 29)
    birthday = date(born.year + ADULT_YEARS, 3, 1) if leap else born.replace(year=born.year + ADULT_YEARS)
    assert is_minor(born, today) == (today < birthday)
    child = Dependant(id="dep_1", subject_id="usr_1", name="A", date_of_birth=born, relation="son")
    assert child.is_minor(today) == is_minor(born, today)


@pytest.mark.parametrize(
    ("born", "today", "minor"),
    [
        (date(2008, 2, 29), date(2026, 2, 28), True),
        (date(2008, 2, 29), date(2026, 3, 1), False),
        (date(2006, 3, 1), date(2024, 2, 29), True),
        (date(2006, 3, 1), date(2024, 3, 1), False),
        (date(2008, 11, 23), date(2026, 11, 22), True),
        (date(2008, 11, 23), date(2026, 11, 23), False),
        (date(2007, 12, 31), date(2025, 12, 30), True),
        (date(2007, 12, 31), date(2025, 12, 31), False),
    ],
)
def test_the_days_around_a_birthday(born: date, today: date, minor: bool) -> None:  # noqa: FBT001  a row of the table
    assert is_minor(born, today) is minor


@given(born=births, today=days, later=st.integers(0, 20_000))
def test_nobody_becomes_a_child_again(born: date, today: date, later: int) -> None:
    if not is_minor(born, today):
        assert not is_minor(born, today + timedelta(days=later))
