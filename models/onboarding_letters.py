"""What letters about an application say, beside the words of their templates."""

from __future__ import annotations

from models.onboarding import Application


def application_link(public_url: str, application_id: str, token: str) -> str:
    """Where the holder of a link proves the mailbox and goes on with the application."""
    return f"{public_url}/onboarding/applications/{application_id}/verify-email?token={token}"


def letter_params(
    application: Application, *, link: str, token: str, note: str = "", missing: str = ""
) -> dict[str, str]:
    """Everything that the templates about an application may name."""
    name = application.details.owner.name if application.details is not None else ""
    due = "" if application.due_at is None else f"{application.due_at:%Y-%m-%d %H:%M} UTC"
    return {
        "name": name,
        "practice_name": application.practice_name,
        "slug": application.slug,
        "application_id": application.id,
        "link": link,
        "token": token,
        "note": note,
        "missing": missing,
        "due_at": due,
    }
