"""Settings: every problem is named, no value is shown, and production refuses what is only fit for development."""

import base64
import secrets

import pytest
from pydantic import SecretStr, ValidationError

from adapters.settings import (
    PREFIX,
    NamedKey,
    Settings,
    SettingsError,
    development_key,
    is_loopback,
    load_settings,
    parse_keys,
)


def _key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _production() -> dict[str, str]:
    return {
        "profile": "production",
        "public_url": "https://visits.example",
        "mongodb_url": "mongodb://app:pw@db1.example,db2.example/visitnow?tls=true",
        "vault_mongodb_url": "mongodb://vault:pw@db1.example/visitnow",
        "audit_mongodb_url": "mongodb://audit:pw@db1.example/visitnow",
        "redis_url": "rediss://:pw@cache.example:6379/0",
        "temporal_address": "temporal.example:7233",
        "temporal_ui_url": "https://temporal.example",
        "razorpay_base_url": "https://api.razorpay.com",
        "razorpay_key_id": "rzp_live_1",
        "razorpay_key_secret": "made-up-secret",
        "razorpay_webhook_secrets": "newest,older",
        "kms_url": "file:///run/secrets/kek",
        "signing_keys": f"2026-01:{_key()}",
        "codec_keys": f"2026-01:{_key()}",
        "id_hmac_key": _key(),
        "blind_index_key": _key(),
    }


def _settings(values: dict[str, str]) -> Settings:
    return Settings.model_validate(values)


def test_development_runs_without_any_setting() -> None:
    settings = Settings()
    assert settings.is_development
    assert [key.id for key in settings.token_keys] == ["dev"]
    assert settings.webhook_secrets == ()
    assert not settings.razorpay_is_sandbox
    assert len(settings.id_secret) == 32


def test_a_whole_production_environment_is_accepted() -> None:
    settings = _settings(_production())
    assert not settings.is_development
    assert settings.webhook_secrets == (b"newest", b"older")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("razorpay_base_url", "http://sandbox.example:9000"),
        ("razorpay_base_url", "http://127.0.0.1:9000"),
        ("twilio_base_url", "http://sandbox.example:9000"),
        ("twilio_base_url", "https://twilio.com.example"),
        ("razorpay_key_id", "rzp_test_development"),
        ("razorpay_key_secret", "development-razorpay-key-secret"),
        ("razorpay_webhook_secrets", ""),
        ("signing_keys", f"dev:{development_key('signing')}"),
        ("signing_keys", f"new:{base64.b64encode(bytes(32)).decode()},old:{development_key('signing')}"),
        ("codec_keys", f"dev:{development_key('codec')}"),
        ("id_hmac_key", development_key("ids")),
        ("blind_index_key", development_key("blind index")),
        ("kms_url", "local:"),
        ("key_settle_seconds", "59"),
        ("mongodb_url", "mongodb://db.example/visitnow"),
        ("mongodb_url", "mongodb://app:pw@db.example,127.0.0.1:27018/visitnow"),
        ("audit_mongodb_url", "mongodb://db.example/visitnow"),
        ("redis_url", "redis://cache.example:6379"),
        ("redis_url", "redis://:pw@localhost:6379"),
        ("temporal_address", "localhost:7233"),
        ("temporal_address", "[::1]:7233"),
        ("public_url", "http://visits.example"),
        ("public_url", "https://127.0.0.1"),
        ("temporal_ui_url", "http://temporal.example"),
    ],
)
def test_production_refuses_what_is_only_fit_for_development(name: str, value: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        _settings({**_production(), name: value})
    assert f"{PREFIX}{name.upper()}" in str(refusal.value)


@pytest.mark.parametrize("name", sorted(_production().keys() - {"profile", "vault_mongodb_url", "audit_mongodb_url"}))
def test_production_refuses_each_default(name: str) -> None:
    values = _production()
    del values[name]
    if name == "razorpay_base_url":
        assert not _settings(values).razorpay_is_sandbox  # its default is the real gateway
        return
    with pytest.raises(ValidationError):
        _settings(values)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("signing_keys", "canary-7f3a"),
        ("signing_keys", "one:canary-7f3a"),
        ("codec_keys", f"one:{base64.b64encode(b'canary-7f3a').decode()}"),
        ("id_hmac_key", "canary-7f3a"),
        ("public_url", "canary-7f3a"),
        ("temporal_address", "canary-7f3a"),
        ("kms_url", "canary-7f3a"),
        ("database", "canary 7f3a"),
        ("profile", "canary-7f3a"),
        ("trusted_proxies", "canary-7f3a"),
        ("trusted_proxies", "10.0.0.1, canary-7f3a"),
        ("trusted_proxies", "*"),
        ("trusted_proxies", "0.0.0.0/0"),
        ("trusted_proxies", "127.0.0.1,::/0"),
    ],
)
def test_a_bad_value_is_refused_by_name_without_being_shown(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{PREFIX}{name.upper()}", value)
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    assert f"{PREFIX}{name.upper()}" in str(refusal.value)
    assert "7f3a" not in str(refusal.value)


def test_secrets_show_in_no_representation() -> None:
    settings = _settings(_production() | {"razorpay_key_secret": "canary-7f3a"})
    assert "canary-7f3a" not in repr(settings)
    assert "canary-7f3a" not in str(settings)
    assert "pw@" not in repr(settings)


def test_a_client_certificate_needs_its_key() -> None:
    with pytest.raises(ValidationError, match="come together"):
        _settings({"temporal_tls_cert": "/run/secrets/client.pem"})


def test_addresses_lose_their_trailing_slash() -> None:
    settings = _settings({"razorpay_base_url": "http://127.0.0.1:9000/", "public_url": "http://127.0.0.1:8000//"})
    assert settings.razorpay_base_url == "http://127.0.0.1:9000"
    assert settings.public_url == "http://127.0.0.1:8000"
    assert settings.razorpay_is_sandbox


def test_rotated_keys_come_newest_first() -> None:
    new, old = _key(), _key()
    settings = Settings(signing_keys=SecretStr(f"new:{new}, old:{old}"))
    assert settings.token_keys == (NamedKey("new", base64.b64decode(new)), NamedKey("old", base64.b64decode(old)))


def test_two_keys_of_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="same id"):
        parse_keys(f"one:{_key()},one:{_key()}", "signing key")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("api.localhost", True),
        ("10.0.0.1", False),
        ("example.com", False),
        ("", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:  # noqa: FBT001  the value that is tested
    assert is_loopback(host) is expected


def test_messaging_is_whole_or_absent() -> None:
    account = {"twilio_account_sid": "AC1", "twilio_auth_token": "t", "twilio_sms_from": "+911400000000"}
    assert _settings(account).twilio_sms_from == "+911400000000"
    for name in account:
        with pytest.raises(ValidationError, match="come together"):
            _settings({**account, name: ""})
    empty = _settings(dict.fromkeys([*account, "twilio_whatsapp_from", "smtp_url"], ""))
    assert (empty.twilio_account_sid, empty.twilio_auth_token, empty.smtp_url) == (None, None, None)


@pytest.mark.parametrize("url", ["http://mail.example", "smtp://", "mail.example:25"])
def test_a_mail_relay_is_named_by_an_smtp_address(url: str) -> None:
    with pytest.raises(ValidationError, match="smtp://host"):
        _settings({"smtp_url": url})


def test_a_sender_cannot_bring_a_header_along() -> None:
    assert _settings({"email_from": "Asha <asha@clinic.example>"}).email_from == "Asha <asha@clinic.example>"
    for sender in ("nobody", "a@b.example\r\nBcc: c@d.example"):
        with pytest.raises(ValidationError):
            _settings({"email_from": sender})
