"""Prescriptions on paper: one A4 page or more, the same bytes for the same version whoever asks and whenever."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import Final

from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.fonts import TTFFont

from models.consultation import PatientOnRecord, PlaceOnRecord, PrescriptionItem, Record, SummaryVersion
from models.ids import reference

_FONTS: Final = files("fontpkg_hind") / "files"
_REGULAR: Final = str(_FONTS / "Hind-Regular.ttf")
_BOLD: Final = str(_FONTS / "Hind-SemiBold.ttf")
_FAMILY: Final = "Hind"
_MARGIN_MM: Final = 18
_LINE_MM: Final = 6
_INDENT_MM: Final = 8
_NOT_TOLD: Final = "not stated"
_SHOWN_INSTEAD: Final = "?"


@cache
def _letters() -> frozenset[int]:
    """Every character that both faces can show."""
    faces = [font for font in Page("").fonts.values() if isinstance(font, TTFFont)]
    shown = frozenset.intersection(*(frozenset(one.cmap) for one in faces))
    for one in faces:
        one.close()
    return shown


def is_printable(text: str) -> bool:
    """Whether every character of it can be printed: a letter that silently lacks could be a dose."""
    return all(ord(one) in _letters() for one in text if one != "\n")


def _shown(text: str) -> str:
    return "".join(one if ord(one) in _letters() else _SHOWN_INSTEAD for one in text)


def prescription_pdf(version: SummaryVersion, record: Record) -> bytes:
    """The prescription of a version as PDF; nothing in it depends on when it is printed."""
    page = Page(f"{reference(version.appointment_id)}, version {version.version}")
    page.set_creation_date(version.at)
    page.add_page()
    _head(page, record)
    _patient(page, record.patient, record.place)
    _items(page, record.summary.prescription)
    if record.summary.follow_up_on is not None:
        page.ln(_LINE_MM)
        page.pair("Follow-up", f"{record.summary.follow_up_on:%d %b %Y}")
    page.ln(3 * _LINE_MM)
    page.text_line(record.doctor.name, bold=True)
    page.text_line(_registration(record))
    return bytes(page.output())


class Page(FPDF):
    """An A4 page with our fonts and a footer that says which version of which visit this is."""

    def __init__(self, footer: str) -> None:
        super().__init__(format="A4")
        self._footer = footer
        self.set_margin(_MARGIN_MM)
        self.set_auto_page_break(auto=True, margin=_MARGIN_MM + _LINE_MM)
        self.add_font(_FAMILY, "", _REGULAR)
        self.add_font(_FAMILY, "B", _BOLD)
        # A line's script would be guessed from its first word, and Devanagari after Latin then be joined wrongly; Latin
        # letters stand the same in either.
        self.set_text_shaping(use_shaping_engine=True, script="deva")
        self.set_title("Prescription")
        self.set_lang("en")

    def footer(self) -> None:
        """The last line of every page."""
        self.set_y(-_MARGIN_MM)
        self.set_font(_FAMILY, size=8)
        self.cell(0, _LINE_MM, _shown(f"{self._footer}, page {self.page_no()}"), align="C")

    def text_line(self, text: str, *, size: int = 11, bold: bool = False, indent: int = 0) -> None:
        """One text over the page's width, on as many lines as it needs."""
        self.set_font(_FAMILY, "B" if bold else "", size)
        self.set_x(_MARGIN_MM + indent)
        self.multi_cell(0, _LINE_MM, _shown(text), new_x=XPos.LMARGIN, new_y=YPos.NEXT, align="L")

    def pair(self, label: str, value: str) -> None:
        """What it is, and its value beside it."""
        self.text_line(f"{label}: {value}")

    def rule(self) -> None:
        """A line over the page's width."""
        self.ln(_LINE_MM / 2)
        self.line(_MARGIN_MM, self.get_y(), self.w - _MARGIN_MM, self.get_y())
        self.ln(_LINE_MM / 2)


def _head(page: Page, record: Record) -> None:
    page.text_line(record.place.clinic, size=16, bold=True)
    page.text_line(record.place.address, size=9)
    page.rule()
    page.text_line(record.doctor.name, size=12, bold=True)
    page.text_line(_registration(record))
    page.rule()


def _registration(record: Record) -> str:
    registration = record.doctor.registration
    return f"Registration no. {registration.number}, {registration.council}, {registration.year}"


def _patient(page: Page, patient: PatientOnRecord, place: PlaceOnRecord) -> None:
    age = patient.age_on(place.day)
    page.pair("Patient", patient.name or _NOT_TOLD)
    page.pair("Age", f"{age} years" if age is not None else _NOT_TOLD)
    page.pair("Date", f"{place.day:%d %b %Y}")
    page.rule()


def _items(page: Page, items: Sequence[PrescriptionItem]) -> None:
    page.text_line("Rx", size=14, bold=True)
    for number, item in enumerate(items, start=1):
        page.text_line(f"{number}. {item.medicine}", bold=True)
        details = ", ".join(_told((item.dose, item.frequency, item.duration)))
        for line in _told((details, item.instructions)):
            page.text_line(line, indent=_INDENT_MM)


def _told(parts: Iterable[str | None]) -> list[str]:
    return [one for one in parts if one]
