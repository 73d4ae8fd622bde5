"""Start the sandbox: `python -m sandbox`, with options or the SANDBOX_… environment variables of the same names."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields

from sandbox.config import SandboxConfig
from sandbox.server import serve

HELP = {
    "key_id": "key id that clients sign in with",
    "key_secret": "its secret; also signs what the checkout hands back",
    "webhook_url": "where webhooks go",
    "webhook_secret": "what signs webhooks",
    "public_url": "the merchant's public address: the only place the checkout hands results to",
    "host": "address to listen on",
    "port": "port to listen on, 0 for a free one",
    "log_level": "debug, info, warning or error",
    "refund_seconds": "how long a refund stays pending",
    "minute_seconds": "how long one minute of the gateway's expiries lasts",
    "webhook_retry_seconds": "delay before a webhook's first retry; it doubles up to 30 s",
    "webhook_attempts": "tries before a webhook is given up",
    "account_sid": "the messaging account that clients sign in with",
    "auth_token": "its secret; also signs status callbacks",
    "smtp_port": "port at which mail is taken, 0 for a free one",
    "message_seconds": "how long a text takes to be sent, and again to be delivered",
}
REQUIRED = ("key_id", "key_secret")
NUMBERS = {
    "port": int,
    "smtp_port": int,
    "webhook_attempts": int,
    "refund_seconds": float,
    "minute_seconds": float,
    "webhook_retry_seconds": float,
    "message_seconds": float,
}


def read_config(arguments: Sequence[str], environment: Mapping[str, str]) -> SandboxConfig:
    """Read options, and variables for those not given; exits with 2 and a reason where they are wrong."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="Stand-ins for payments, messages and mail.")
    for field in fields(SandboxConfig):
        variable = f"SANDBOX_{field.name.upper()}"
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=NUMBERS.get(field.name, str),
            default=environment.get(variable) or argparse.SUPPRESS,
            required=field.name in REQUIRED and not environment.get(variable),
            help=f"{HELP[field.name]} ({variable})",
        )
    try:
        return SandboxConfig(**vars(parser.parse_args(arguments)))
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    serve(read_config(sys.argv[1:], os.environ))
