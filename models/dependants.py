"""Those whom somebody books for: children, parents; a minor names an identified adult who answers for them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Final

from pydantic import Field

from models.base import Id, Model
from models.booking import PatientDetails

ADULT_YEARS: Final = 18
"""A child is a person under 18 (Digital Personal Data Protection Act 2023, section 2(f))."""
MOST_DEPENDANTS: Final = 20
ONESELF: Final = "self"
"""What a front desk calls whoever the phone belongs to."""


class Dependant(Model):
    """Somebody whom the account `subject_id` books for and answers for."""

    id: Id
    subject_id: Id
    name: str = Field(min_length=1, max_length=120)
    date_of_birth: date
    relation: str = Field(min_length=1, max_length=40)

    def is_minor(self, today: date) -> bool:
        """Whether this is a child in the eyes of the law."""
        return is_minor(self.date_of_birth, today)

    def is_meant_by(self, patient: PatientDetails) -> bool:
        """Whether these are their details; where nobody knew the birthday, the name of a relative is enough."""
        if _folded(patient.name) != _folded(self.name):
            return False
        if patient.date_of_birth is None:
            return patient.relation != ONESELF
        return patient.date_of_birth == self.date_of_birth


def meant_by(patient: PatientDetails, dependants: Iterable[Dependant]) -> str | None:
    """The id of the one whose details these are; None where they are nobody's of them, or may be several's."""
    found = [one.id for one in dependants if one.is_meant_by(patient)]
    return found[0] if len(found) == 1 else None


def _folded(name: str) -> str:
    return " ".join(name.split()).casefold()


def is_minor(born: date, today: date) -> bool:
    """Whether somebody born then is under 18; whoever was born on 29 February comes of age on 1 March."""
    return (today.year - born.year, today.month, today.day) < (ADULT_YEARS, born.month, born.day)
