"""Forgetting somebody in MongoDB, by the table of holdings: whole documents, or what is sealed and said in them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from adapters.mongo.client import Collection, Database, Document, answering
from adapters.mongo.encryption import Vault
from adapters.mongo.scopes import reason_of, scoped
from models.addresses import AddressKind, blind_index, normal_email, normal_phone
from models.credentials import code_counter, password_counter
from models.data_classes import DataClass
from models.erasure import Gone, SentText
from models.holdings import Holding, Treatment
from models.identity import Scope, Subject, System

_A_TEXT: Final[Document] = {"$gt": ""}
"""A text that says something."""
_UNDER_WAY: Final = timedelta(minutes=1)
"""A code that was right in its last moment has made its account by then."""
_DIGESTS: Final = System("counters and unanswered codes lie under digests of an address, before there is a subject")


class MongoRemains:
    """Implements `models.erasure_ports.Remains` over every collection of the table."""

    def __init__(self, database: Database, vault: Vault, index_key: bytes) -> None:
        """`vault` opens whose addresses are looked for under the digests that `index_key` makes."""
        self._database = database
        self._vault = vault
        self._index_key = index_key

    @answering
    async def remove(self, scope: Scope, holding: Holding, subject_id: str) -> Gone:
        """One delete or update by an index, and a count of what stays."""
        collection: Collection = self._database[holding.collection]
        own = await self._own(scope, holding, subject_id)
        if holding.treatment is Treatment.DELETE:
            done = await collection.delete_many(own, comment=reason_of(scope))
            return Gone(erased=done.deleted_count, kept=0)
        erased = 0
        if holding.treatment is Treatment.BLANK:
            where, change, filters = _blanked(holding, subject_id)
            blanked = await collection.update_many(
                {"$and": [own, where]}, change, array_filters=filters, comment=reason_of(scope)
            )
            erased = blanked.modified_count
        return Gone(erased=erased, kept=await collection.count_documents(own, comment=reason_of(scope)))

    @answering
    async def count(self, scope: Scope, holding: Holding, subject_id: str) -> int:
        """One count by an index."""
        own = await self._own(scope, holding, subject_id)
        query = own
        match holding.treatment:
            case Treatment.KEEP:
                return 0
            case Treatment.BLANK:
                query = {"$and": [own, _blanked(holding, subject_id)[0]]}
        return await self._database[holding.collection].count_documents(query, comment=reason_of(scope))

    async def _own(self, scope: Scope, holding: Holding, subject_id: str) -> Document:
        """The subject's documents within the scope; where they stand in a list, the document is its clinic's."""
        if holding.subject_field is None:
            msg = f"{holding.collection} holds nothing about patients"
            raise ValueError(msg)
        own: Document = {holding.subject_field: subject_id}
        if holding.collection == "slots":
            # A claim has its appointment's id; one that never became an appointment is a hold, which has an index.
            if _items(holding) is not None:
                own["kind"] = "session"
            else:
                theirs = await self.ids(scope, "appointments", subject_id)
                own["$or"] = [{**own, "_id": {"$in": theirs}}, {**own, "kind": "hold"}]
        if isinstance(scope, Subject) and _items(holding) is not None:
            return own
        return scoped(scope, own)

    @answering
    async def forget_tries(self, scope: Scope, subject_id: str) -> int:
        """Two deletes; before them one read of the account and a look into the vault."""
        phones, names = await self._under_digests(scope, subject_id)
        if not names:
            return 0
        counters: Collection = self._database["sign_in_tries"]
        done = await counters.delete_many({"_id": {"$in": names}}, comment=_DIGESTS.reason)
        codes, strangers = await self._codes(phones, subject_id)
        if strangers:
            await self._vault.destroy(strangers, DataClass.IDENTITY)
        challenges: Collection = self._database["otp_challenges"]
        dropped = await challenges.delete_many({"_id": {"$in": codes}}, comment=_DIGESTS.reason)
        return done.deleted_count + dropped.deleted_count

    @answering
    async def count_tries(self, scope: Scope, subject_id: str) -> int:
        """One count and one read; before them one read of the account and a look into the vault."""
        phones, names = await self._under_digests(scope, subject_id)
        if not names:
            return 0
        counters: Collection = self._database["sign_in_tries"]
        tries = await counters.count_documents({"_id": {"$in": names}}, comment=_DIGESTS.reason)
        codes, _ = await self._codes(phones, subject_id)
        return tries + len(codes)

    async def _under_digests(self, scope: Scope, subject_id: str) -> tuple[list[str], list[str]]:
        """What stands for an account's phone, and what the counters of its addresses are called."""
        found = await self._database["users"].find_one(
            scoped(scope, {"_id": subject_id}),
            {"sealed": 1, "phone_index": 1, "email_index": 1},
            comment=reason_of(scope),
        )
        phones, emails = await self._indexes(found or {})
        return phones, [*(code_counter(one) for one in phones), *(password_counter(one) for one in emails)]

    async def _indexes(self, found: Document) -> tuple[list[str], list[str]]:
        """What stands for an account's phone and e-mail: as it says itself, or while they can be read."""
        sealed = found.get("sealed")
        [opened] = await self._vault.open([sealed["identity"] if isinstance(sealed, dict) else None])
        personal = opened if isinstance(opened, dict) else {}
        phones, emails = {found.get("phone_index")}, {found.get("email_index")}
        if (phone := personal.get("phone")) is not None:
            phones.add(blind_index(self._index_key, AddressKind.PHONE, normal_phone(str(phone))))
        if (email := personal.get("email")) is not None:
            emails.add(blind_index(self._index_key, AddressKind.EMAIL, normal_email(str(email))))
        return [str(one) for one in phones if one], [str(one) for one in emails if one]

    async def _codes(self, indexes: Sequence[str], subject_id: str) -> tuple[list[object], list[str]]:
        """Codes to the number that nobody answered have subjects of their own, whose keys go with them: both's ids.

        Whoever has the number now and an account of their own keeps what is theirs, and so does whoever may be about
        to get one: a code that is good yet makes an account for the subject that it was sent for.
        """
        lapsed: Document = {"expires_at": {"$lt": datetime.now(UTC) - _UNDER_WAY}}
        whose: Document = {"$or": [{"subject_id": subject_id}, lapsed]}
        query: Document = {"phone_index": {"$in": list(indexes)}, **whose}
        challenges: Collection = self._database["otp_challenges"]
        found = await challenges.find(query, {"subject_id": 1}, comment=_DIGESTS.reason).to_list(None)
        subjects = {str(one["subject_id"]) for one in found} - {subject_id}
        accounts: Document = {"_id": {"$in": sorted(subjects)}}
        known = await self._database["users"].find(accounts, {"_id": 1}, comment=_DIGESTS.reason).to_list(None)
        others = {str(one["_id"]) for one in known}
        ids = [one["_id"] for one in found if one["subject_id"] not in others]
        return ids, sorted(subjects - others)

    @answering
    async def ids(self, scope: Scope, collection: str, subject_id: str) -> list[str]:
        """One read by an index."""
        found = self._database[collection].find(
            scoped(scope, {"subject_id": subject_id}), {"_id": 1}, comment=reason_of(scope)
        )
        return [str(one["_id"]) for one in await found.to_list(None)]

    @answering
    async def sent_texts(self, scope: Scope, subject_id: str) -> list[SentText]:
        """One read by an index; those whose words the carrier has forgotten are left out."""
        return await sent_texts(self._database, scope, {"subject_id": subject_id})

    @answering
    async def note_redacted(self, scope: Scope, message_id: str, at: datetime) -> None:
        """One update by id."""
        await self._database["notifications"].update_one(
            scoped(scope, {"_id": message_id}), {"$set": {"redacted_at": at}}, comment=reason_of(scope)
        )


async def sent_texts(database: Database, scope: Scope, query: Document) -> list[SentText]:
    """The messages of a query whose words the carrier may still have."""
    travelled: Document = {"provider_id": _A_TEXT, "redacted_at": None, "channel": {"$in": ["sms", "whatsapp"]}}
    found = database["notifications"].find(
        scoped(scope, {**query, **travelled}), {"provider_id": 1, "updated_at": 1}, comment=reason_of(scope)
    )
    return [
        SentText.model_validate(
            {"message_id": one["_id"], "provider_id": one["provider_id"], "since": one["updated_at"]}
        )
        for one in await found.to_list(None)
    ]


def _items(holding: Holding) -> str | None:
    """The list in whose items the holding's fields stand; None where they stand in the document itself."""
    return (holding.subject_field or "").rpartition(".")[0] or None


def _blanked(holding: Holding, subject_id: str) -> tuple[Document, Document, list[Document] | None]:
    """Where something is left, the update that takes it out, and in which items of a list."""
    items = _items(holding)
    prefix = "" if items is None else f"{items}."
    texts = [name.removeprefix(prefix) for name in holding.blanks]
    sealed = [] if holding.sealed is None else [holding.sealed.removeprefix(prefix)]
    left: Document = {"$or": [*({one: _A_TEXT} for one in texts), *({one: {"$ne": None}} for one in sealed)]}
    place = "" if items is None else f"{items}.$[own]."
    values: Document = {f"{place}{one}": "" for one in texts} | {f"{place}{one}": None for one in sealed}
    if items is None:
        return left, {"$set": values}, None
    own: Document = {(holding.subject_field or "").removeprefix(prefix): subject_id}
    filters = [{f"own.{name}": value for name, value in own.items()}]
    return {items: {"$elemMatch": {**own, **left}}}, {"$set": values}, filters
