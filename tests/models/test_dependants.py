"""Whether what is said of a patient is said of somebody whom the account books for."""

from __future__ import annotations

from datetime import date

import pytest

from models.booking import PatientDetails
from models.dependants import Dependant, meant_by

BORN = date(2019, 2, 28)
ASHA = Dependant(id="dep_a", subject_id="usr_1", name="Asha K", date_of_birth=BORN, relation="daughter")
RAVI = ASHA.model_copy(update={"id": "dep_r", "name": "Ravi K"})


@pytest.mark.parametrize(
    ("name", "born", "relation", "meant"),
    [
        ("Asha K", BORN, "daughter", "dep_a"),
        ("asha  k", BORN, "self", "dep_a"),
        ("Ravi K", BORN, "son", "dep_r"),
        ("Asha K", date(2019, 2, 27), "daughter", None),
        ("Asha Kumari", BORN, "daughter", None),
        ("Asha K", None, "daughter", "dep_a"),
        ("Asha K", None, "self", None),
    ],
    ids=["same", "as it was typed", "the brother", "another day", "another name", "no birthday", "its namesake"],
)
def test_whose_details_they_are(name: str, born: date | None, relation: str, meant: str | None) -> None:
    patient = PatientDetails(name=name, date_of_birth=born, relation=relation)
    assert meant_by(patient, [ASHA, RAVI]) == meant


def test_what_may_be_several_peoples_is_nobodys() -> None:
    patient = PatientDetails(name="Asha K", date_of_birth=BORN, relation="daughter")
    assert meant_by(patient, [ASHA, ASHA.model_copy(update={"id": "dep_b"})]) is None
