"""A tenant's own words: checked when they are kept, never lost, looked at before they are said."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from adapters.texts import FileTexts
from adapters.texts.checking import word_problems
from api.templates import segments
from models.identity import Account, Role
from models.messaging import Template
from models.notice_facts import EXAMPLE, VARIABLES
from models.notice_kinds import KINDS
from tests.api.conftest import Api

PATH = "/v1/message-templates"
GOOD = {"short": "Come, {{ doctor }} ({{ registration }})", "subject": "{{ when }}", "text": "{{ registration }}"}
LOOP = "{{ registration }}{% for i in when %}x{% endfor %}"
_NUMBERS = itertools.count(1)
Json = dict[str, Any]


@pytest.fixture
def admin() -> Account:
    """The admin of a tenant that no other test knows."""
    number = next(_NUMBERS)
    return Account(id=f"usr_words_{number}", tenant_id=f"tnt_words_{number}", roles=frozenset({Role.ADMIN}), name="A")


def one(items: list[Json], key: str, language: str) -> Json:
    return next(item for item in items if (item["key"], item["language"]) == (key, language))


async def test_every_template_is_shown_in_english_and_hindi(api: Api, admin: Account) -> None:
    async with api.client(admin) as client:
        items = (await client.get(PATH)).json()["items"]
    assert {(item["key"], item["language"]) for item in items} == {
        (key, lang) for key in KINDS for lang in ("en", "hi")
    }
    assert {item["version"] for item in items} == {0}
    assert "doctor" in one(items, "appointment_confirmed", "en")["variables"]


async def test_own_words_come_in_versions_and_two_people_do_not_overwrite_each_other(api: Api, admin: Account) -> None:
    body = {"language": "en", "words": GOOD, "dlt_template_id": "1107160000000000001"}
    async with api.client(admin) as client:
        first = await client.put(f"{PATH}/appointment_confirmed", json=body, headers={"If-Match": '"0"'})
        assert (first.status_code, first.headers["etag"], first.json()["version"]) == (200, '"1"', 1)
        late = await client.put(f"{PATH}/appointment_confirmed", json=body, headers={"If-Match": '"0"'})
        assert (late.status_code, late.json()["code"]) == (412, "stale")
        second = await client.put(f"{PATH}/appointment_confirmed", json=body, headers={"If-Match": '"1"'})
        assert second.json()["version"] == 2
        missing = await client.put(f"{PATH}/appointment_confirmed", json=body)
        assert missing.json()["code"] == "if_match_required"
        items = (await client.get(PATH)).json()["items"]
    shown = one(items, "appointment_confirmed", "en")
    assert (shown["version"], shown["words"], shown["changed_by"]) == (2, GOOD, admin.id)
    assert shown["registered"]["dlt_template_id"] == "1107160000000000001"


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"words": {**GOOD, "short": "{{ registration }} {{ phone }}"}}, "words.short", "unknown_variable"),
        ({"words": {**GOOD, "text": "no registration"}}, "words.text", "missing_variable"),
        ({"words": {**GOOD, "subject": "{% if %}"}}, "words.subject", "syntax"),
        (
            {"words": {**GOOD, "text": "{{ registration }}{% for i in when %}x{% endfor %}"}},
            "words.text",
            "not_allowed",
        ),
        ({"words": {**GOOD, "text": "{{ registration.__class__ }}"}}, "words.text", "not_allowed"),
        ({"words": {**GOOD, "text": "{{ registration * 999999 }}"}}, "words.text", "not_allowed"),
        ({"language": "xq"}, "language", "unknown_language"),
        ({"content_sid": "HX" + "a" * 32}, "", "value_error"),
        ({"content_sid": "HX" + "a" * 32, "content_variables": ["reference", "phone"]}, "content_variables", "unknown"),
        ({"dlt_template_id": "x"}, "dlt_template_id", "string_pattern_mismatch"),
        ({"unknown": 1}, "unknown", "extra_forbidden"),
    ],
)
async def test_words_that_cannot_be_said_are_refused(
    api: Api, admin: Account, change: Json, field: str, code: str
) -> None:
    body = {"language": "en", "words": GOOD, **change}
    async with api.client(admin) as client:
        answer = await client.put(f"{PATH}/appointment_confirmed", json=body, headers={"If-Match": '"0"'})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    [problem] = answer.json()["errors"]
    assert field in problem["field"]
    assert code in problem["code"]


async def test_what_is_not_a_tenants_cannot_be_changed(api: Api, admin: Account) -> None:
    body = {"language": "en", "words": GOOD}
    async with api.client(admin) as client:
        for key in ("otp", "password_reset", "made_up"):
            answer = await client.put(f"{PATH}/{key}", json=body, headers={"If-Match": '"0"'})
            assert answer.status_code == 404


async def test_a_preview_is_filled_with_an_example_and_keeps_nothing(api: Api, admin: Account) -> None:
    async with api.client(admin) as client:
        shipped = await client.post(f"{PATH}/appointment_confirmed/preview", json={"language": "hi"})
        assert shipped.status_code == 200
        assert EXAMPLE["doctor"] in shipped.json()["short"]
        assert "पक्की" in shipped.json()["subject"]
        own = await client.post(f"{PATH}/appointment_confirmed/preview", json={"words": GOOD})
        assert own.json()["short"] == f"Come, {EXAMPLE['doctor']} ({EXAMPLE['registration']})"
        assert own.json()["segments"] == 1
        bad = await client.post(f"{PATH}/appointment_confirmed/preview", json={"words": {**GOOD, "text": "{{ x }}"}})
        assert bad.status_code == 422
        assert {item["version"] for item in (await client.get(PATH)).json()["items"]} == {0}


@pytest.mark.parametrize(
    ("text", "count"),
    [("a" * 160, 1), ("a" * 161, 2), ("é" * 160, 1), ("अ" * 70, 1), ("अ" * 71, 2), ("a" * 307, 3), ("", 1)],
)
def test_text_messages_are_counted_as_phones_count_them(text: str, count: int) -> None:
    assert segments(text) == count


def test_what_is_shipped_passes_the_same_check_and_names_only_what_its_kind_has() -> None:
    texts = FileTexts()
    for key, kind in KINDS.items():
        assert set(kind.variables) <= VARIABLES.keys()
        for language in texts.languages:
            words = texts.words(key, language)
            assert word_problems(words.model_dump(), kind.variables, required=True) == [], (key, language)


def test_the_name_of_a_template_leaves_room_for_what_follows_it_in_an_id() -> None:
    assert max(len(key) for key in Template) <= 33


def test_whoever_looks_at_words_sees_something_for_each_variable() -> None:
    assert {name for name in VARIABLES if not EXAMPLE.get(name)} == set()
