"""Those whom somebody books for: children, parents; a minor names an identified adult who answers for them."""

from __future__ import annotations

from datetime import date
from typing import Final

from pydantic import Field

from models.base import Id, Model
from models.booking import Intake

ADULT_YEARS: Final = 18
"""A child is a person under 18 (Digital Personal Data Protection Act 2023, section 2(f))."""
MOST_DEPENDANTS: Final = 20


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

    def is_meant_by(self, intake: Intake) -> bool:
        """Whether a visit was booked for them: bookings keep who it is for as it was said then."""
        patient = intake.patient
        return patient is not None and (patient.name, patient.date_of_birth) == (self.name, self.date_of_birth)


def is_minor(born: date, today: date) -> bool:
    """Whether somebody born then is under 18; whoever was born on 29 February comes of age on 1 March."""
    return (today.year - born.year, today.month, today.day) < (ADULT_YEARS, born.month, born.day)
