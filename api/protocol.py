"""What the server itself answers where a request cannot be read, before any application is asked."""

from __future__ import annotations

import os
from typing import Final

from starlette.datastructures import MutableHeaders
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.headers import secure
from api.problems import problem_response
from models.errors import Code, VisitNowError

_STATUS_LINE: Final = b"HTTP/1.1 400 Bad Request"


class ProblemProtocol(HttpToolsProtocol):
    """HTTP by httptools, whose one refusal of its own is a problem like ours."""

    def send_400_response(self, msg: str) -> None:
        """Answer and hang up: nobody knows where the next request would begin. `msg` is the parser's, for its log."""
        del msg
        request_id = os.urandom(8).hex()
        answer = problem_response(VisitNowError(Code.MALFORMED), request_id)
        headers = MutableHeaders(raw=answer.raw_headers)
        headers["X-Request-Id"] = request_id
        headers["Connection"] = "close"
        secure(headers)
        lines = [_STATUS_LINE, *(b": ".join(one) for one in headers.raw)]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(answer.body)]))
        self.transport.close()
