"""The bare booking on DBOS Transact: the skeleton's steps and messages, with PostgreSQL behind them.

A process of its own, since DBOS is not among the product's libraries. It reads one JSON object per line,
`{"count": n, "in_flight": m}`, books and answers with one line, `{"done", "seconds", "latencies"}`. DBOS runs
workflows in the process that starts them, so load and worker share this one, which saves it a hop.
"""

from __future__ import annotations

import asyncio
import json
import sys
from uuid import uuid4

from dbos import DBOS, SetWorkflowID

from bench.load import closed_loop

LIMIT_SECONDS = 120.0
WAIT_SECONDS = 60
ORDERED, PAID = "ordered", "paid"


async def _hold(appointment_id: str) -> bool:
    return bool(appointment_id)


async def _open_order(appointment_id: str) -> str:
    return f"order_{appointment_id}"


async def _ask(order_id: str) -> str:
    return f"pay_{order_id}"


async def _book(appointment_id: str) -> bool:
    return bool(appointment_id)


async def _capture(payment_id: str) -> bool:
    return bool(payment_id)


async def _confirm(appointment_id: str) -> bool:
    return bool(appointment_id)


# Called rather than used as decorators: the library is not installed where types are checked.
hold, open_order, ask, book, capture, confirm = (
    DBOS.step(name=step.__name__)(step) for step in (_hold, _open_order, _ask, _book, _capture, _confirm)
)


async def _booking(appointment_id: str) -> None:
    await hold(appointment_id)
    order_id = await open_order(appointment_id)
    await DBOS.set_event_async(ORDERED, order_id)
    await DBOS.recv_async(PAID, timeout_seconds=WAIT_SECONDS)
    payment_id = await ask(order_id)
    await book(appointment_id)
    await capture(payment_id)
    await confirm(appointment_id)


booking = DBOS.workflow(name="booking")(_booking)


async def book_once() -> None:
    """Place, be told of the order, pay, be confirmed."""
    appointment_id = f"apt_{uuid4().hex}"
    with SetWorkflowID(appointment_id):
        handle = await DBOS.start_workflow_async(booking, appointment_id)
    order_id = await DBOS.get_event_async(appointment_id, ORDERED, timeout_seconds=WAIT_SECONDS)
    if order_id is None:
        raise TimeoutError("no order")
    await DBOS.send_async(appointment_id, order_id, PAID)
    await handle.get_result()


async def serve() -> None:
    """Answer each line of the input until it ends."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        wish = json.loads(line)
        sample = await closed_loop(book_once, wish["count"], wish["in_flight"], limit=LIMIT_SECONDS)
        answer = {"done": sample.done, "seconds": sample.seconds, "latencies": sample.latencies}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def main() -> None:
    """Connect to the database named on the command line and serve."""
    DBOS(config={"name": "bench", "system_database_url": sys.argv[1], "log_level": "ERROR", "enable_otlp": False})
    DBOS.launch()
    try:
        asyncio.run(serve())
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    main()
