import asyncio, pathlib
from tests.booking.support import *
from tests.clinics import offer
VISIT = offer("steady", "visit")
async def test_x(shared_stack):
    starts = (await shared_stack.free_starts(VISIT.provider_id, VISIT.service_id, days=(8, 18)))
    it = iter(starts)
    bad = []
    async def one(start, n):
        async with shared_stack.client(somebody()) as who:
            held = await book(shared_stack, who, VISIT, start)
            async def late():
                await asyncio.sleep((n % 10) * 0.01)
                return await cancel(who, held["id"])
            _, a = await asyncio.gather(shared_stack.pay(held["payment"]["order_id"], "authorized"), late())
            if a.status_code not in (200, 409):
                bad.append((n, held["id"], a.text))
                wf = (await temporal(shared_stack)).get_workflow_handle("booking:" + held["id"])
                h = await wf.fetch_history()
                for e in h.events:
                    print(n, e.event_id, e.event_type, )
    for r in range(20):
        await asyncio.gather(*(one(next(it), n) for n in range(8)))
        if bad: break
    print(bad)
    for p in shared_stack.folder.glob("*.log"):
        t = p.read_text()
        print(p, [l for l in t.splitlines() if "unavailable" in l or "rror" in l][:20])
