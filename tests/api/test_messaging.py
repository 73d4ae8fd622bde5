"""The messaging provider's callbacks at the door; what they change is tested with the delivery."""

from __future__ import annotations

from tests.api.conftest import Api, serving

PATH = "/v1/webhooks/twilio/status"


async def test_an_unconfigured_secret_accepts_nothing(api: Api) -> None:
    changes = {"twilio_account_sid": None, "twilio_auth_token": None, "twilio_sms_from": None}
    async with serving(api.settings.model_copy(update=changes)) as bare, bare.client() as client:
        answer = await client.post(PATH, data={"MessageStatus": "sent"}, headers={"X-Twilio-Signature": "x"})
    assert (answer.status_code, answer.json()["code"]) == (503, "webhook_unconfigured")


async def test_a_forged_one_is_refused_and_counted(api: Api) -> None:
    def forged() -> float:
        return api.services.metrics.registry.get_sample_value("visitnow_webhooks_total", {"outcome": "forged"}) or 0.0

    before = forged()
    async with api.client() as client:
        for headers in ({}, {"X-Twilio-Signature": ""}, {"X-Twilio-Signature": "c2lnbmVk"}):
            answer = await client.post(PATH, data={"MessageStatus": "sent", "MessageSid": "SM1"}, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (400, "signature_invalid")
    assert forged() == before + 3


INBOUND = "/v1/webhooks/twilio/inbound"


async def test_a_forged_reply_is_refused_too(api: Api) -> None:
    async with api.client() as client:
        answer = await client.post(INBOUND, data={"Body": "STOP"}, headers={"X-Twilio-Signature": "c2lnbmVk"})
    assert (answer.status_code, answer.json()["code"]) == (400, "signature_invalid")
