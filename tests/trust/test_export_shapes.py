"""What an export gives of each collection: nothing that is held is forgotten, nothing that opens anything is given."""

from __future__ import annotations

from jsonschema import Draft202012Validator

from models.export_shapes import ERASED, schema_of, shapes_of
from models.exports import ExportKind
from models.holdings import exported


def test_everything_that_is_held_and_exported_has_a_shape() -> None:
    shapes = {one.collection: one for one in shapes_of(ExportKind.SUBJECT)}
    assert set(shapes) == {one.collection for one in exported()}
    for holding in exported():
        assert bool(holding.sealed) <= bool(shapes[holding.collection].personal), holding.collection


def test_no_field_is_both_given_and_left_out() -> None:
    for kind in ExportKind:
        for shape in shapes_of(kind):
            assert not shape.excused & shape.fields.keys(), shape.collection


def test_what_was_erased_says_so() -> None:
    [users] = [one for one in shapes_of(ExportKind.SUBJECT) if one.collection == "users"]
    told = users.told({"_id": "usr_1", "locale": "en", "password_hash": "secret"}, {"identity": None})
    assert told == {"id": "usr_1", "locale": "en", "personal": {"identity": ERASED}}


def test_what_opens_something_is_nobodys_record() -> None:
    [messages] = [one for one in shapes_of(ExportKind.SUBJECT) if one.collection == "notifications"]
    part = {"to": "+911", "params": {"code": "1"}, "words": {"text": "1"}}
    opening = messages.told({"_id": "1", "template": "otp"}, {"identity": part})
    assert opening["personal"] == {"identity": {"to": "+911"}}
    another = messages.told({"_id": "1", "template": "refund_processed"}, {"identity": part})
    assert another["personal"] == {"identity": part}


def test_the_schemas_are_schemas() -> None:
    for kind in ExportKind:
        Draft202012Validator.check_schema(schema_of(kind))
