"""What one sandbox process is told at its start."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """Credentials, addresses and paces of the stand-ins.

    `webhook_url` and `webhook_secret` come together; without them no webhook leaves. `public_url` is the merchant's
    public address: the checkout page hands a payment's result back to that origin only. `port` 0 takes a free one.
    Times are seconds; `minute_seconds` is how long one minute of the gateway's own clock lasts here, so that its
    expiries (12 minutes to 5 days) can be watched.

    `account_sid` and `auth_token` come together; without them every call to the messaging service is refused. Mail is
    taken at `smtp_port` of the same host, 0 for a free one. A text is sent, and then delivered, `message_seconds` after
    it was taken.
    """

    key_id: str
    key_secret: str = field(repr=False)
    webhook_url: str | None = None
    webhook_secret: str | None = field(default=None, repr=False)
    public_url: str | None = None
    host: str = "127.0.0.1"
    port: int = 0
    log_level: str = "warning"
    refund_seconds: float = 0.2
    minute_seconds: float = 60.0
    webhook_retry_seconds: float = 0.25
    webhook_attempts: int = 12
    account_sid: str | None = None
    auth_token: str | None = field(default=None, repr=False)
    smtp_port: int = 0
    message_seconds: float = 0.1

    def __post_init__(self) -> None:
        """Refuse half a webhook target and paces that cannot be."""
        if (self.webhook_url is None) != (self.webhook_secret is None):
            raise ValueError("webhook_url and webhook_secret come together")
        if (self.account_sid is None) != (self.auth_token is None):
            raise ValueError("account_sid and auth_token come together")
        if not self.key_id or not self.key_secret:
            raise ValueError("key_id and key_secret must not be empty")
        if self.minute_seconds <= 0 or self.webhook_retry_seconds <= 0 or self.refund_seconds < 0:
            raise ValueError("minute_seconds and webhook_retry_seconds must be positive, refund_seconds at least 0")
        if self.message_seconds < 0:
            raise ValueError("message_seconds must be at least 0")
        if self.webhook_attempts < 1:
            raise ValueError("webhook_attempts must be at least 1")
