"""From a scope to the filter that every query carries: the one place that says whose documents may be touched."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import assert_never

from adapters.mongo.client import Document
from models.errors import not_found
from models.identity import Clinics, OwnProvider, Public, Scope, Subject, System, Tenant


def scope_filter(scope: Scope, *, published: bool = False) -> Document:
    """The filter of a scope.

    Records (appointments, claims, money, accounts) belong to a tenant, clinic, provider and subject. With
    `published`, the filter is that of the directory, which everybody may read: the public what is live, a patient
    whatever their appointments point to, staff all of their own tenant. Raises `not_found` where the public asks for
    records.
    """
    match scope:
        case System():
            return {}
        case Public():
            if not published:
                raise not_found()
            return {"live": True}
        case Subject(subject_id):
            return {} if published else {"subject_id": subject_id}
        case Tenant(tenant_id):
            return {"tenant_id": tenant_id}
        case Clinics(tenant_id, clinic_ids):
            tenant: Document = {"tenant_id": tenant_id}
            return tenant if published else {**tenant, "clinic_id": {"$in": sorted(clinic_ids)}}
        case OwnProvider(tenant_id, provider_id):
            tenant = {"tenant_id": tenant_id}
            return tenant if published else {**tenant, "provider_id": provider_id}
        case _:
            assert_never(scope)


def scoped(scope: Scope, query: Document, *, published: bool = False) -> Document:
    """`query` within the scope; where both name a field, both must hold."""
    bounds = scope_filter(scope, published=published)
    if any(query.get(field, bound) != bound for field, bound in bounds.items()):
        return {"$and": [query, bounds]}
    return {**query, **bounds}


def each_within(field: str, asked: Sequence[tuple[str, str]]) -> Document:
    """What several subjects ask for with one command, each (their id, a value of `field`) within their own scope.

    Whoever hands out what it finds looks at both fields: one subject's value is nothing to another one.
    """
    subjects, values = {subject for subject, _ in asked}, {value for _, value in asked}
    return {field: _one_of(values), "subject_id": _one_of(subjects)}


def _one_of(values: Collection[str]) -> object:
    return next(iter(values)) if len(values) == 1 else {"$in": sorted(values)}


def require(scope: Scope, owner: Mapping[str, object]) -> None:
    """Refuse to write a document that the scope could not read. Raises `not_found`."""
    for field, wanted in scope_filter(scope).items():
        value = owner.get(field)
        allowed = value in wanted["$in"] if isinstance(wanted, dict) else value == wanted
        if not allowed:
            raise not_found()


def reason_of(scope: Scope) -> str | None:
    """Why a process of ours works across tenants; sent as the command's comment, so that the profiler shows it."""
    return scope.reason if isinstance(scope, System) else None
