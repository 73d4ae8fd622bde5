"""The operator's command that looks for somebody: it says where and in which form, never the words themselves."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from pathlib import Path

from pydantic import SecretStr

from cli.running import environment_of
from tests.trust.life import Office


async def _run(office: Office, words: str, *arguments: str) -> tuple[int, str, str]:
    settings = office.stack.settings
    reader = SecretStr(office.stack.servers.owner_mongodb_url(settings.database))
    environment = environment_of(settings.model_copy(update={"backup_mongodb_url": reader}))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "cli", "sightings", "-", *arguments,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, told = await asyncio.wait_for(process.communicate(words.encode()), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), told.decode()


async def test_whoever_is_there_is_named_by_place_and_form_only(office: Office, tmp_path: Path) -> None:
    word = f"Chandrika Zq{secrets.token_hex(6)}"
    log = tmp_path / "api.log"
    log.write_text(f"said {word.encode().hex()}", encoding="utf-8")
    code, out, told = await _run(office, f"{word}\n", "--logs", str(log))
    assert (code, out.strip()) == (1, "logs api.log (hex)"), told
    assert word not in told
    log.unlink()
    code, out, told = await _run(office, f"{word}\n")
    assert (code, out) == (0, ""), told
    assert {"mongodb", "opened"} <= {line.partition(":")[0] for line in told.splitlines()}


async def test_the_carrier_is_asked_for_what_went_to_a_number(office: Office) -> None:
    settings, number = office.stack.settings, f"+9177{secrets.randbelow(10**8):08d}"
    word = f"Chandrika Zq{secrets.token_hex(6)}"
    account, token = str(settings.twilio_account_sid), settings.twilio_auth_token
    assert token is not None
    form = {"To": number, "From": str(settings.twilio_sms_from), "Body": f"Dear {word}"}
    async with office.stack.control() as carrier:
        url = f"/2010-04-01/Accounts/{account}/Messages.json"
        sent = (await carrier.post(url, auth=(account, token.get_secret_value()), data=form)).json()
    code, out, told = await _run(office, f"{word}\n{number}\n")
    assert (code, out.strip()) == (1, f"carrier {sent['sid']} (plain)\ncarrier {sent['sid']} (escaped)"), told
    code, out, told = await _run(office, f"{word}\n")
    assert (code, out) == (0, ""), told
    assert "carrier: was not asked, since no number is among the words" in told


async def test_nobody_is_looked_for_by_too_little(office: Office) -> None:
    for words in ("", "ab\n"):
        code, out, told = await _run(office, words)
        assert (code, out) == (1, "")
        assert "visitnow:" in told
