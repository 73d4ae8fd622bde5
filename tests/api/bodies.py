"""Bodies that the rightful caller of an operation could send; what they name need not exist."""

from __future__ import annotations

from cli.seed.arogya import ANANYA_RAO
from models.booking import Appointment
from models.signatures import sign
from tests.api.operations import Json
from tests.onboarding.support import details


def bodies(appointment: Appointment, upload_id: str, secret: bytes) -> dict[str, Json | list[Json]]:
    """By operation; `secret` is the gateway's, which signs what its checkout returns."""
    return {
        # A name that nobody may have: whoever applies with it leaves nothing behind.
        "apply": details("www").model_dump(mode="json"),
        "verify_application_email": {"token": "onb.1.00"},
        "amend_application": {"practice_name": "Another"},
        "add_application_document": {},
        "decide_application": {"decision": "approve"},
        "place": {
            "provider_id": ANANYA_RAO.provider.id,
            "service_id": ANANYA_RAO.provider.services[0].id,
            "start": "2031-01-06T04:30:00Z",
        },
        "cancel": {"reason": "made up"},
        "receive_walk_in": {
            "provider_id": ANANYA_RAO.provider.id,
            "service_id": ANANYA_RAO.provider.services[0].id,
            "patient": {"name": "Nobody", "phone": "+919812345678"},
            "override": {"reason": "made up"},
        },
        "reschedule": {"start": "2031-01-06T04:30:00Z"},
        "check_in": {"paid": True},
        "start_consultation": {},
        "complete": {},
        "mark_no_show": {},
        "give_review": {"rating": 5},
        "review_by_link": {"rating": 5},
        "moderate": {"decision": "publish"},
        "claim_grievance": {"text": "made up"},
        "claim_correction": {"text": "made up"},
        "ask_deletion": {},
        "confirm_deletion": {"code": "123456"},
        "place_hold": {
            "subject_id": "usr_made_up",
            "reason": "claim",
            "reference": "A/1",
            "until": "2099-01-01T00:00:00Z",
        },
        "answer_right": {"outcome": "granted", "text": "made up"},
        "login": {"email": "nobody@nowhere.example", "password": "made up"},
        "refresh": {"refresh_token": "ses_made_up.secret"},
        "request_code": {"phone": "+919812345678"},
        "verify_code": {"challenge_id": "otp_made_up", "code": "123456"},
        "forgot_password": {"email": "nobody@nowhere.example"},
        "reset_password": {"token": "made.up", "password": "made up password"},
        "accept_invite": {"token": "made.up", "name": "Nobody", "password": "made up password"},
        "invite_staff": {"email": "nobody@nowhere.example", "role": "staff"},
        "step_up": {"password": "made up"},
        "enrol_totp": {},
        "confirm_totp": {"code": "123456"},
        "drop_totp": {"code": "123456"},
        "change_me": {},
        "add_dependant": {"name": "Nobody", "date_of_birth": "2001-01-01", "relation": "son"},
        "change_dependant": {"relation": "son"},
        "answer_consent": {"granted": False, "notice_version": 1, "language": "en"},
        "answer_dependant_consent": {"granted": False, "notice_version": 1, "language": "en"},
        "refund": {"amount": {"amount": 100, "currency": "INR"}, "reason": "made up"},
        "report_payment": {
            "razorpay_payment_id": "pay_1",
            "razorpay_order_id": appointment.order_id,
            "razorpay_signature": sign(secret, f"{appointment.order_id}|pay_1".encode()),
        },
        "add_document": {"upload_id": upload_id, "kind": "other"},
        "write_summary": {"notes": "made up", "follow_up_on": "2031-02-03"},
        "put_template": {
            "language": "en",
            "words": dict.fromkeys(("short", "subject", "text"), "made up {{ registration }}"),
        },
        "preview_template": {"language": "hi"},
        "put_settings": {"payment_window_seconds": 900},
        "publish_services": [],
        "take_leave": {"start": "2031-01-06", "end": "2031-01-07"},
        "publish_availability": {"weekly": []},
        "encode": {"payloads": []},
        "decode": {"payloads": []},
    }
