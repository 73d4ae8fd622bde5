"""Erasing somebody: store by store, each step with a receipt of what went and what stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Final

from pydantic import Field

from models.base import Id, Model, UtcDatetime
from models.data_classes import RetentionClass


class Store(StrEnum):
    """Where something about somebody lies."""

    REDIS = "redis"
    STORAGE = "storage"
    MESSAGES = "messages"
    """The words that the carrier of text messages keeps."""
    TEMPORAL = "temporal"
    MONGODB = "mongodb"
    KEYS = "keys"


STORES: Final = tuple(Store)
"""The order of erasing: what leads to the other stores lies in MongoDB, and the keys open what MongoDB says."""


class EraseStore(Model):
    """One step: of one store what is kept no longer than for that time, and what no rule keeps."""

    subject_id: Id
    store: Store
    data_class: RetentionClass
    at: UtcDatetime
    deletion_id: Id | None = None
    """Where what is found is noted before anything is erased; None for steps from before that was done."""


class ErasureReceipt(Model):
    """What one step did to one part of a store (a collection, a kind of object): ids and numbers only."""

    store: Store
    part: str = Field(max_length=100)
    data_class: RetentionClass
    erased: int = Field(ge=0)
    """How many went with this step, those included that an earlier try of it erased before it was cut off."""
    kept: int = Field(default=0, ge=0)
    """How many of the subject stay: documents without their words, and what is not over yet."""
    at: UtcDatetime


def with_earlier_tries(
    receipts: Sequence[ErasureReceipt], found: Mapping[str, int], left: Mapping[str, int]
) -> list[ErasureReceipt]:
    """The receipts of the try that got through, counting what went with those before it too.

    `found` and `left` are how much there was of each part before the first try and is there after the last.
    """
    return [
        one.model_copy(update={"erased": max(one.erased, found.get(one.part, 0) - left.get(one.part, 0))})
        for one in receipts
    ]


class Gone(Model):
    """What removing one holding came to."""

    erased: int
    kept: int


LONGEST_JOURNEY: Final = timedelta(days=1)
"""A carrier has told by then what became of a message; one that it has not is not on its way any more."""


class SentText(Model):
    """A message that the carrier has, by our id and by its own."""

    message_id: Id
    provider_id: str
    since: UtcDatetime
    """When we last heard of it."""
