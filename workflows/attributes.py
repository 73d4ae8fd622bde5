"""The search attributes by which operators find workflows; ids and states only."""

from __future__ import annotations

from temporalio import workflow
from temporalio.common import SearchAttributeKey

TENANT_ID = SearchAttributeKey.for_keyword("TenantId")
BOOKING_STATE = SearchAttributeKey.for_keyword("BookingState")
PAYMENT_STATE = SearchAttributeKey.for_keyword("PaymentState")
PROVIDER_REF = SearchAttributeKey.for_keyword("ProviderRef")
SUBJECT_REF = SearchAttributeKey.for_keyword("SubjectRef")
SLA_DEADLINE = SearchAttributeKey.for_datetime("SlaDeadline")
NEEDS_HUMAN = SearchAttributeKey.for_bool("NeedsHuman")


def call_a_human() -> None:
    """Mark the running workflow as one that somebody must look at."""
    workflow.upsert_search_attributes([NEEDS_HUMAN.value_set(value=True)])
