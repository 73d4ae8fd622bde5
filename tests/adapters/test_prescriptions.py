"""Printed prescriptions: what can be printed, letters that join, long ones, and bytes that never change."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from fpdf import FPDF
from fpdf.fonts import TTFFont
from pypdf import PdfReader

from adapters.prescriptions import Page, is_printable, prescription_pdf
from models.consultation import MOST_ITEMS, PrescriptionItem, Summary
from tests.adapters.mongo.builders import a_command
from tests.adapters.mongo.visit_calls import a_record, a_version


@pytest.mark.parametrize("text", ["Amoxicillin 500 mg (½)", "भोजन के बाद", "₹ 500", "1–0–1", "Café", "तीन\nदिन"])
def test_latin_and_devanagari_can_be_printed(text: str) -> None:
    assert is_printable(text)


@pytest.mark.parametrize("text", ["மருந்து", "ঔষধ", "药", "💊", "a\u202eb"])
def test_what_would_be_left_out_cannot(text: str) -> None:
    assert not is_printable(text)


def _glyphs(page: FPDF, text: str) -> list[int]:
    font = page.fonts["hind"]
    assert isinstance(font, TTFFont)
    return [one["mapped_char"] for one in font.shape_text(text, 11, page.text_shaping)]


@pytest.mark.parametrize("word", ["निर्मला", "क्षत्रिय", "श्रीकृष्ण"])
def test_devanagari_joins_the_same_after_latin_as_alone(word: str) -> None:
    page = Page("")
    alone, after = _glyphs(page, word), _glyphs(page, f"Patient: {word}")
    assert after[-len(alone) :] == alone
    assert len(alone) != len(word), "letters that join are other glyphs than letters in a row"
    for font in page.fonts.values():
        assert isinstance(font, TTFFont)
        font.close()


def test_a_prescription_is_the_same_bytes_each_time() -> None:
    version, record = a_version(a_command()), a_record()
    assert prescription_pdf(version, record) == prescription_pdf(version, record)
    other = version.model_copy(update={"at": datetime(2031, 1, 1, tzinfo=UTC)})
    assert prescription_pdf(other, record) != prescription_pdf(version, record)


def test_a_long_one_takes_as_many_pages_as_it_needs() -> None:
    item = PrescriptionItem(medicine="m" + " m" * 149, dose="d" * 120, frequency="f" * 120, instructions="i" * 300)
    record = a_record(summary=Summary(notes="x", prescription=(item,) * MOST_ITEMS))
    pages = PdfReader(io.BytesIO(prescription_pdf(a_version(a_command()), record))).pages
    text = "\n".join(page.extract_text() for page in pages)
    assert len(pages) > 5
    for number in range(1, MOST_ITEMS + 1):
        assert f"{number}. m" in text
    assert f"page {len(pages)}" in text


def test_a_name_in_other_letters_shows_that_something_is_missing() -> None:
    record = a_record(patient={"name": "நிர்மலா Joshi"})
    text = PdfReader(io.BytesIO(prescription_pdf(a_version(a_command()), record))).pages[0].extract_text()
    assert "Patient: ??????? Joshi" in text
    assert "Age: not stated" in text
