"""Who sees workflows' payloads in clear: people of the platform who have just proved who they are; each look is noted.

A browser signs in at a page of its own and then carries a cookie that is good for nothing else and is sent nowhere
else; programs carry an access token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from temporalio.api.common.v1 import Payload

from adapters.settings import Settings
from adapters.temporal.codec import CodecError, EncryptionCodec
from adapters.tokens import Purpose, PurposeTokens
from api.audit import AuditLog
from api.headers import page_policy
from api.problems import invalid
from api.sessions import Sessions
from api.sign_in import SignIn, Typed
from models.errors import ERRORS, Code, VisitNowError
from models.identity import Account, Permission, Principal, Subject
from models.identity_ports import Users
from models.sessions import EndReason, session_of

PATH: Final = "/codec"
SIGN_IN_PATH: Final = f"{PATH}/sign-in"
LASTING: Final = timedelta(hours=1)
"""How long one sign-in shows payloads to a browser."""

FRESH: Final = timedelta(hours=12)
"""How long ago whoever brings an access token may have signed in; after that a fresh proof comes along."""

MAX_NAMED: Final = 1000
"""Whoever wants to see more records at once is refused; a page of a history names about ten."""

_ID: Final = re.compile(rb"(?<![a-z0-9])[a-z]{3}_[a-z2-7]{26}(?![a-z0-9])")
_PAGES: Final = Path(__file__).parent / "pages" / "operators"


class Accounts(NamedTuple):
    """What proves who somebody is."""

    sign_in: SignIn
    sessions: Sessions
    users: Users
    tokens: PurposeTokens


class CodecDesk:
    """Lets operators in and shows them payloads."""

    def __init__(self, codec: EncryptionCodec, accounts: Accounts, audit: AuditLog, settings: Settings) -> None:
        """`settings` say where the Temporal UI is, whose pages alone may use the cookie."""
        self._codec = codec
        self._sign_in, self._sessions, self._users, self._tokens = accounts
        self._audit = audit
        self.is_secure = settings.public_url.startswith("https://")
        self._development = settings.is_development
        self._origins = ui_origins(settings)

    @property
    def cookie(self) -> str:
        """The cookie's name; over TLS one that browsers take from nobody else."""
        return "__Secure-visitnow-codec" if self.is_secure else "visitnow-codec"

    @property
    def needs_totp(self) -> bool:
        """Whether nobody comes in without an authenticator; the development stack's people have none."""
        return not self._development

    async def sign_in(self, request: Request, typed: Typed) -> str:
        """Begin an hour of reading; what the cookie carries.

        Raises `credentials_invalid`, `totp_required`, `rate_limited`, and `forbidden` for whoever may not read
        payloads or has no authenticator.
        """
        recognised = await self._sign_in.recognise(request, typed)
        account = recognised.account
        await self._refuse_stranger(request, account)
        now = datetime.now(UTC)
        issued = await self._sign_in.begin(request, recognised, lasting=LASTING)
        session_id = session_of(issued.refresh_token)
        return self._tokens.mint(Purpose.CODEC, account.id, session_id, now + LASTING, now)

    async def _refuse_stranger(self, request: Request, account: Account) -> None:
        person = account.principal("codec")
        if Permission.CODEC_USE not in person.permissions:
            await self._audit.refusal(request, person, Permission.CODEC_USE)
            raise VisitNowError(Code.FORBIDDEN)
        credentials = await self._users.credentials(Subject(account.id), account.id)
        if self.needs_totp and (credentials is None or not credentials.needs_totp):
            await self._audit.refusal(request, person, Permission.CODEC_USE)
            raise VisitNowError(Code.FORBIDDEN, "Set up an authenticator first (POST /v1/auth/totp)")

    async def signed_in(self, request: Request) -> Principal:
        """Whoever signed in with this browser. Raises `token_missing` and `token_invalid`."""
        token = request.cookies.get(self.cookie)
        if token is None:
            raise VisitNowError(Code.TOKEN_MISSING)
        grant = self._tokens.read(Purpose.CODEC, token, datetime.now(UTC))
        account = None if grant is None else await self._users.find(Subject(grant.sub), grant.sub)
        if grant is None or account is None or account.removed_at is not None:
            raise VisitNowError(Code.TOKEN_INVALID)
        person = account.principal(grant.ver)
        await self._sessions.check(person)
        return person

    async def reader(self, request: Request) -> Principal:
        """Whoever signed in with the browser in which a page of the Temporal UI asks.

        Raises `token_missing`, for any other page too, and `token_invalid`.
        """
        if request.headers.get("origin") not in self._origins:
            raise VisitNowError(Code.TOKEN_MISSING)
        return await self.signed_in(request)

    async def is_fresh(self, principal: Principal) -> bool:
        """Whether whoever brings a token has signed in lately."""
        began = await self._sessions.began(principal)
        return began is None or datetime.now(UTC) - began <= FRESH

    async def sign_out(self, request: Request) -> None:
        """End the reading; nothing where it has ended."""
        try:
            person = await self.signed_in(request)
        except VisitNowError:
            return
        await self._sessions.end(request, person, person.session_id, EndReason.LOGGED_OUT)

    async def decode(self, request: Request, reader: Principal, payloads: Sequence[Payload]) -> list[Payload]:
        """The payloads in clear; every record that the encrypted ones name is noted first.

        Raises `invalid` for what does not open and for more than `MAX_NAMED` records, and `UnavailableError`.
        """
        try:
            opened = await self._codec.decode(payloads)
        except CodecError as error:
            raise invalid("payloads", "undecodable", "a payload does not open with any of our keys") from error
        # What was sent in clear tells its sender nothing, and must not stand in the way of what does.
        shown = [after for before, after in zip(payloads, opened, strict=True) if self._codec.is_encrypted(before)]
        named = named_in(shown)
        if len(named) > MAX_NAMED:
            raise invalid("payloads", "too_many", f"more than {MAX_NAMED} records are named: send fewer at once")
        await self._audit.payloads(request, reader, (len(payloads), len(shown)), named)
        return opened

    async def encode(self, request: Request, writer: Principal, payloads: Sequence[Payload]) -> list[Payload]:
        """The payloads encrypted; that somebody sends them is noted. Raises `UnavailableError`."""
        await self._audit.act(request, writer, Permission.CODEC_USE)
        return await self._codec.encode(payloads)


def named_in(payloads: Sequence[Payload]) -> tuple[str, ...]:
    """The ids of records that payloads speak of, each once, in their order."""
    return tuple(dict.fromkeys(match.decode() for one in payloads for match in _ID.findall(one.data)))


def ui_origins(settings: Settings) -> frozenset[str]:
    """The Temporal UI's origin; a browser on the same machine may call it by either name."""
    parts = urlsplit(settings.temporal_ui_url)
    origin = f"{parts.scheme}://{parts.netloc}"
    if parts.hostname == "127.0.0.1":
        return frozenset({origin, origin.replace("127.0.0.1", "localhost", 1)})
    return frozenset({origin})


def is_own_form(request: Request) -> bool:
    """Whether a form was sent from a page of this host, or by no browser at all: nobody else signs people in."""
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()


_PROBLEMS: Final = {
    Code.CREDENTIALS_INVALID: "The e-mail, the password or the code is wrong.",
    Code.TOTP_REQUIRED: "Give the code of your authenticator, too.",
    Code.RATE_LIMITED: "That was too often. Wait a while.",
}


class SignInPage:
    """Renders the page: plain HTML without a script."""

    def __init__(self, ui_url: str) -> None:
        """`ui_url` is where the Temporal UI is; the file is read once."""
        environment = Environment(loader=FileSystemLoader(_PAGES), autoescape=True, undefined=StrictUndefined)
        self._template = environment.get_template("sign_in.html")
        self._style = (_PAGES / "sign_in.css").read_text(encoding="utf-8")
        self._ui_url = ui_url

    def answer(self, *, signed_in: bool, totp_needed: bool, problem: VisitNowError | None = None) -> HTMLResponse:
        """The form, or what follows it."""
        text = self._template.render(
            style=Markup(self._style),  # noqa: S704  a file of ours
            ui_url=self._ui_url,
            signed_in=signed_in,
            totp_needed=totp_needed,
            problem=None if problem is None else _PROBLEMS.get(problem.code, problem.detail),
        )
        # A browser names the page that a form comes from only where the page says that it may.
        headers = {"Content-Security-Policy": page_policy(self._style), "Referrer-Policy": "same-origin"}
        if problem is not None and problem.retry_after is not None:
            headers["Retry-After"] = str(problem.retry_after)
        return HTMLResponse(text, ERRORS[problem.code].status if problem else 200, headers)
