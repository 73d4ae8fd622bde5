"""Every public method of every repository, by name."""

from __future__ import annotations

from dataclasses import fields
from inspect import getmembers, iscoroutinefunction

from adapters.mongo.repositories import Repositories

NO_REPOSITORIES = frozenset({"database", "vault", "clients"})
"""What of `Repositories` is none."""


def every_method(stores: Repositories) -> set[str]:
    """The public methods of all repositories, those that are added later included."""
    return {
        f"{field.name}.{method}"
        for field in fields(stores)
        if field.name not in NO_REPOSITORIES
        for method, _ in getmembers(type(getattr(stores, field.name)), iscoroutinefunction)
        if not method.startswith("_")
    }


def method_of(call: str) -> str:
    """The method that a call is named after."""
    return call.partition(" ")[0]
