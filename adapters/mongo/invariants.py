"""What must hold of the database at rest, counted by the server: times, money and books.

What the payment gateway says is not asked here: that is the reconciliation's business.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from adapters.mongo.client import Database, Document, answering

NAMED: Final = 20
"""So many of a kind are named; of more, it is enough to know that there are."""

_STANDING: Final = ("confirmed", "checked_in", "in_consultation")
_Pipeline = list[Document]


class MongoInvariants:
    """Looks at everything there is; each finding is one sentence with ids only."""

    def __init__(self, database: Database) -> None:
        """Any account that may read it."""
        self._database = database

    async def broken(self, at: datetime) -> list[str]:
        """Everything that does not hold. Raises `UnavailableError`."""
        return [*await self._times(at), *await self._money(), *await self._books()]

    async def _times(self, at: datetime) -> list[str]:
        """One claim at most per practitioner and instant; who has an appointment has its time."""
        return [
            *await self._found("slots", _CLAIMED_TWICE, "is claimed twice"),
            *await self._found("slots", _SEATED_TWICE, "has more seats taken than there are, or one person in two"),
            *await self._found("appointments", _timeless(at), "has lost its time"),
        ]

    async def _money(self) -> list[str]:
        """What was captured is what payments sum up to, and what was promised back what refunds do."""
        return [
            *await self._found("payments", _compared("captured"), "says other payments than there are"),
            *await self._found("refunds", _compared("refund_reserved"), "says other refunds than there are"),
            *await self._totals("captured", "payments"),
            *await self._totals("refund_reserved", "refunds"),
        ]

    async def _books(self) -> list[str]:
        """Each transaction sums to zero, and each payment and refund was posted, once."""
        return [
            *await self._found("ledger", _UNBALANCED, "does not balance"),
            *await self._found("payments", _unposted("capture"), "was never posted"),
            *await self._found("refunds", _unposted("refund", {"gateway_refund_id": {"$gt": ""}}), "was never posted"),
            *await self._found("refunds", _unposted("refund_failed", {"state": "failed"}), "has failed unposted"),
            *await self._found("ledger", _unfounded("payments", "capture"), "was posted for nothing"),
            *await self._found("ledger", _unfounded("refunds", "refund"), "was posted for nothing"),
        ]

    @answering
    async def _found(self, collection: str, pipeline: _Pipeline, what: str) -> list[str]:
        stages: _Pipeline = [*pipeline, {"$limit": NAMED}, {"$project": {"_id": 1}}]
        found = await self._database[collection].aggregate(stages, allowDiskUse=True).to_list(None)
        return [f"{collection}: {_name(one['_id'])} {what}" for one in found]

    @answering
    async def _totals(self, field: str, collection: str) -> list[str]:
        """No appointment says that there is money of which the books know nothing."""
        said = await self._sum("appointments", [], f"${field}")
        there = await self._sum(collection, [{"$match": _COUNTED}], "$amount")
        if said == there:
            return []
        return [f"appointments: {field} is {said} paise in all, {collection} are {there}"]

    async def _sum(self, collection: str, pipeline: _Pipeline, what: str) -> object:
        stages: _Pipeline = [*pipeline, {"$group": {"_id": None, "total": {"$sum": what}}}]
        found = await self._database[collection].aggregate(stages, allowDiskUse=True).to_list(1)
        return found[0]["total"] if found else 0


_LIVE: Final[Document] = {"$match": {"$expr": {"$or": [{"$ne": ["$kind", "hold"]}, {"$gt": ["$expires_at", "$$NOW"]}]}}}
_CLAIMED_TWICE: Final[_Pipeline] = [
    _LIVE,
    {"$unwind": "$cells"},
    {"$group": {"_id": {"practitioner_id": "$practitioner_id", "cell": "$cells"}, "claims": {"$sum": 1}}},
    {"$match": {"claims": {"$gt": 1}}},
]
_SEATED_TWICE: Final[_Pipeline] = [
    {"$match": {"kind": "session"}},
    {
        "$match": {
            "$expr": {
                "$or": [
                    {"$gt": [{"$size": "$seats"}, "$capacity"]},
                    {"$ne": [{"$size": "$seats"}, {"$size": {"$setUnion": "$seats.owner"}}]},
                ]
            }
        }
    },
]
_COUNTED: Final[Document] = {"state": {"$ne": "failed"}}
"""A refund that has failed for good is promised no more; payments have no state."""

_UNBALANCED: Final[_Pipeline] = [{"$match": {"$expr": {"$ne": [{"$sum": "$lines.amount"}, 0]}}}]


def _timeless(at: datetime) -> _Pipeline:
    """Visits that stand and have neither a claim nor a seat."""
    return [
        {"$match": {"state": {"$in": list(_STANDING)}, "closes_at": {"$gt": at}}},
        {"$lookup": {"from": "slots", "localField": "_id", "foreignField": "_id", "as": "claims"}},
        {"$match": {"claims": []}},
        {
            "$lookup": {
                "from": "slots",
                "let": {"owner": "$_id", "practitioner": "$practitioner_id"},
                "pipeline": [
                    {"$match": {"$expr": {"$eq": ["$practitioner_id", "$$practitioner"]}, "kind": "session"}},
                    {"$match": {"$expr": {"$in": ["$$owner", "$seats.owner"]}}},
                ],
                "as": "sessions",
            }
        },
        {"$match": {"sessions": []}},
    ]


def _compared(field: str) -> _Pipeline:
    """Appointments whose own figure is not the sum of what belongs to them."""
    return [
        {"$match": _COUNTED},
        {"$group": {"_id": "$appointment_id", "amount": {"$sum": "$amount"}}},
        {"$lookup": {"from": "appointments", "localField": "_id", "foreignField": "_id", "as": "said"}},
        {"$match": {"$expr": {"$ne": ["$amount", {"$first": f"$said.{field}"}]}}},
    ]


def _unposted(kind: str, which: Document | None = None) -> _Pipeline:
    """Money that moved and is not in the ledger."""
    return [
        {"$match": which or {}},
        {"$project": {"posting": {"$concat": ["$_id", f":{kind}"]}}},
        {"$lookup": {"from": "ledger", "localField": "posting", "foreignField": "_id", "as": "posted"}},
        {"$match": {"posted": []}},
    ]


def _unfounded(collection: str, kind: str) -> _Pipeline:
    """Ledger transactions of money that never moved."""
    return [
        {"$match": {"kind": kind}},
        {"$project": {"origin": {"$first": {"$split": ["$_id", ":"]}}}},
        {"$lookup": {"from": collection, "localField": "origin", "foreignField": "_id", "as": "origins"}},
        {"$match": {"origins": []}},
    ]


def _name(found: object) -> str:
    return " at cell ".join(str(one) for one in found.values()) if isinstance(found, dict) else str(found)
