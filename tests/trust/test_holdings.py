"""The table of what is held about patients: no collection is missing, and what it says is what the database has."""

import pytest

from adapters.mongo.indexes import DECLARED
from models.data_classes import DataClass, RetentionClass
from models.holdings import HOLDINGS, Holding, Treatment, about_patients, by_collection, due, exported
from sandbox.servers.mongod import APPEND_ONLY_COLLECTIONS, APPLICATION_COLLECTIONS, LEDGER_COLLECTIONS

EVERY = {*APPLICATION_COLLECTIONS, *LEDGER_COLLECTIONS, *APPEND_ONLY_COLLECTIONS}


def test_each_collection_has_its_line() -> None:
    assert set(by_collection()) == EVERY
    assert {one.collection for one in DECLARED} <= EVERY


@pytest.mark.parametrize("holding", HOLDINGS, ids=lambda one: f"{one.collection}-{one.retained_under}")
def test_a_line_says_what_it_means(holding: Holding) -> None:
    if holding.treatment is Treatment.KEEP:
        assert holding.reason
        assert holding.retained_under is RetentionClass.NONE
        assert not holding.sealed
        assert not holding.blanks
    if holding.treatment is Treatment.BLANK:
        assert holding.sealed or holding.blanks
    assert (holding.data_class is None) == (holding.sealed is None)
    assert holding.subject_field is not None or holding.reason
    assert holding.subject_field is not None or not holding.exported


@pytest.mark.parametrize("holding", HOLDINGS, ids=lambda one: f"{one.collection}-{one.retained_under}")
def test_nothing_outlives_the_key_that_opens_it_nor_goes_before_its_time(holding: Holding) -> None:
    own = None if holding.data_class is None else RetentionClass(holding.data_class)
    assert own is None or holding.retained_under in {RetentionClass.NONE, own}


def test_what_no_rule_keeps_goes_with_everything() -> None:
    at_once = {one.collection for one in due(RetentionClass.NONE)}
    assert {"sessions", "otp_challenges", "uploads", "exports"} <= at_once
    for retained_under in RetentionClass:
        assert at_once <= {one.collection for one in due(retained_under)}


def test_everything_about_a_patient_that_is_not_kept_goes_some_day() -> None:
    gone = {one for retained_under in RetentionClass for one in due(retained_under)}
    assert gone == {one for one in about_patients() if one.treatment is not Treatment.KEEP}


def test_a_collection_is_exported_once() -> None:
    names = [one.collection for one in exported()]
    assert len(names) == len(set(names))


def test_each_class_of_keys_has_a_time() -> None:
    assert {one.data_class for one in RetentionClass} == {None, *DataClass}
