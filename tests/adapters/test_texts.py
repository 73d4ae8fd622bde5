"""The words of messages: every template in every language and channel, with everything and with nothing filled in."""

from __future__ import annotations

import pytest

from adapters.texts import FileTexts
from models.messaging import Channel, Template
from tests.adapters.mongo.builders import a_message

TEXTS = FileTexts()
PARAMS = {
    "code": "135790",
    "minutes": "5",
    "practice": "Arogya",
    "link": "https://clinic.example/x?token=a&b=c",
    "note": "The certificate is not readable.",
    "missing": "hours",
    "application": "app_1",
    "due": "tomorrow",
    "name": "Asha Patil",
    "clinic": "Arogya Clinic",
    "address": "1 Station Road, Nashik",
    "doctor": "Dr. Meera Deshpande",
    "registration": "Maharashtra Medical Council 48213",
    "service": "Consultation",
    "reference": "VN-7K3M9QRT",
    "when": "Tue 24 Nov 2026, 10:15 am",
    "choose_until": "Mon 23 Nov 2026, 10:15 am",
    "refund_amount": "₹600.00",
    "request": "rrq_1",
    "percent": "80",
    "received": "2026-11-23",
    "until": "2026-11-26 09:30 UTC",
    "refunded": "yes",
    "voided": "yes",
    **dict.fromkeys(
        ("attend_link", "book_link", "choose_link", "summary_link", "review_link", "unsubscribe_link"),
        "https://clinic.example/v1/links/lnk.abc",
    ),
}


@pytest.mark.parametrize("channel", Channel)
@pytest.mark.parametrize("locale", ["en", "en-IN", "hi", "hi_IN", "ta", ""])
@pytest.mark.parametrize("template", Template)
def test_every_template_has_words(template: Template, locale: str, channel: Channel) -> None:
    for params in (PARAMS, {}):
        message = a_message(template=template, locale=locale, channel=channel, params=params)
        letter = TEXTS.letter(message)
        assert letter.text.strip()
        assert "{" not in letter.text
        assert "None" not in letter.text
        assert (letter.subject is None) is (channel is not Channel.EMAIL)
        assert letter.subject is None or (letter.subject.strip() and "\n" not in letter.subject)
        assert params == {} or ("  " not in letter.text and "\n\n\n" not in letter.text)
        # Two parts of a text, or one where it needs more than the alphabet of phones, would be paid and torn.
        assert channel is Channel.EMAIL or len(letter.text) <= 306


def test_a_code_is_in_its_readers_language_and_others_are_in_english() -> None:
    hindi = TEXTS.letter(a_message(locale="hi-IN"))
    assert hindi.text.startswith("246810 आपका VisitNow कोड है, 5 मिनट तक मान्य")
    assert TEXTS.letter(a_message(locale="ta")).text.startswith("246810 is your VisitNow code, good for 5 minutes.")
    assert {"en", "hi"} <= TEXTS.languages


def test_what_people_write_is_never_a_template_nor_a_header() -> None:
    practice = "{{ 7 * 7 }}\r\nBcc: x@example.in <b>"
    letter = TEXTS.letter(a_message(channel=Channel.EMAIL, template=Template.INVITE, params={"practice": practice}))
    assert letter.subject == "{{ 7 * 7 }} Bcc: x@example.in <b> invites you to VisitNow"
    assert practice in letter.text
