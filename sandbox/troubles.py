"""What an armed fault does to one HTTP call."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from sandbox.faults import Fault, Holds

PROXY_PAGE = "<html><head><title>{status}</title></head><body><center><h1>{status}</h1></center></body></html>"


async def suffer(
    fault: Fault,
    holds: Holds,
    request: Request,
    perform: Callable[[], Response],
    refuse: Callable[[int], Response],
) -> Response:
    """Give the answer that the caller gets: `perform` does the work, `refuse` words a service's trouble."""
    match fault.mode:
        case "error":
            return refuse(fault.status or 500)
        case "rate_limited":
            return refuse(fault.status or 429)
        case "timeout":
            await holds.hold(request, fault.delay_seconds)
            return refuse(fault.status or 504)
        case "timeout_after_success":
            answer = perform()
            await holds.hold(request, fault.delay_seconds)
            return answer
        case "slow":
            await holds.pause(fault.delay_seconds)
            return perform()
        case "malformed":
            return _broken(fault, perform)
        case _:
            assert_never(fault.mode)


def _broken(fault: Fault, perform: Callable[[], Response]) -> Response:
    if fault.status is not None:
        return HTMLResponse(PROXY_PAGE.format(status=fault.status), status_code=fault.status)
    answer = perform()
    content = bytes(answer.body)
    return Response(content[: len(content) // 2], answer.status_code, media_type="application/json")
