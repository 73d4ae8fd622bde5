"""Every method of what forgets people and what forgets records, called for somebody of whom there is nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from adapters.mongo.repositories import Repositories
from models.holdings import about_patients
from models.identity import Account, Scope
from models.retention import dated
from tests.adapters.mongo.builders import DAY, minutes, new

Call = Callable[[Scope], Awaitable[object]]


def on_records(stores: Repositories, tenant_id: str, account: Account) -> dict[str, Call]:
    """Methods on whatever the table of holdings names; the account's address has codes and counters."""
    remains, outdated, nobody = stores.remains, stores.outdated, new("usr")
    before = DAY - minutes(60 * 24 * 365 * 20)

    async def remove(scope: Scope) -> int:
        gone = [await remains.remove(scope, one, nobody) for one in about_patients()]
        return sum(one.erased + one.kept for one in gone)

    async def there(scope: Scope) -> int:
        return sum([await remains.count(scope, one, nobody) for one in about_patients()])

    async def count(scope: Scope) -> int:
        return sum([await outdated.count(scope, one, tenant_id, before) for one in dated()])

    async def some(scope: Scope) -> int:
        return sum([len(await outdated.some(scope, one, tenant_id, before, {nobody}, 5)) for one in dated()])

    async def forget(scope: Scope) -> int:
        return sum([await outdated.remove(scope, one, [nobody]) for one in dated()])

    return {
        "remains.remove": remove,
        "remains.count": there,
        "remains.count_tries": lambda scope: remains.count_tries(scope, account.id),
        "remains.forget_tries": lambda scope: remains.forget_tries(scope, account.id),
        "remains.ids": lambda scope: remains.ids(scope, "appointments", nobody),
        "remains.sent_texts": lambda scope: remains.sent_texts(scope, nobody),
        "remains.note_redacted": lambda scope: remains.note_redacted(scope, nobody, DAY),
        "outdated.count": count,
        "outdated.some": some,
        "outdated.sent_texts": lambda scope: outdated.sent_texts(scope, [nobody]),
        "outdated.remove": forget,
    }
