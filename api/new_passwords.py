"""Which new passwords are taken."""

from __future__ import annotations

from pydantic import SecretStr

from adapters.passwords import has_leaked
from api.problems import invalid
from models.credentials import password_problem


def new_password(given: SecretStr) -> str:
    """The password in clear. Raises `invalid` for one that is short, or that others have lost."""
    password = given.get_secret_value()
    problem = password_problem(password, leaked=has_leaked(password))
    if problem is not None:
        raise invalid("password", "weak", problem)
    return password
