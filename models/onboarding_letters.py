"""What letters about an application say, beside the words of their templates."""

from __future__ import annotations

from urllib.parse import urlsplit

from models.onboarding import Application


def application_link(public_url: str, application_id: str, token: str) -> str:
    """Where the holder of a link proves the mailbox and goes on with the application."""
    return f"{public_url}/onboarding/applications/{application_id}/verify-email?token={token}"


def review_link(public_url: str, application_id: str) -> str:
    """Where a reviewer, who signs in, finds the application; it opens nothing by itself."""
    return f"{public_url}/onboarding/applications/{application_id}"


def practice_link(public_url: str, slug: str) -> str:
    """The practice's own site."""
    parts = urlsplit(public_url)
    return f"{parts.scheme}://{slug}.{parts.netloc}"


def letter_params(application: Application, *, link: str, note: str = "", missing: str = "") -> dict[str, str]:
    """Everything that the templates about an application may name."""
    due = "" if application.due_at is None else f"{application.due_at:%Y-%m-%d %H:%M} UTC"
    return {
        "practice": application.practice_name,
        "application": application.id,
        "link": link,
        "note": note,
        "missing": missing,
        "due": due,
    }
