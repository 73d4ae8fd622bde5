"""Classes of personal data, and the times for which they are kept: each class has keys of its own, so each can go."""

from __future__ import annotations

from enum import StrEnum


class DataClass(StrEnum):
    """Classes of personal data; each is kept for a time of its own, so each has keys of its own."""

    IDENTITY = "identity"
    CLINICAL = "clinical"
    FINANCIAL = "financial"


class RetentionClass(StrEnum):
    """For how long something is kept after its purpose has ended.

    The times are a tenant's settings (`models.policy.RetentionDays`), for those who leave the platform's; the rules
    behind them, in India, are named with each. They are defaults for counsel to decide about, not advice.
    """

    NONE = "none"
    """No rule keeps it: it goes as soon as something is erased."""
    IDENTITY = "identity"
    """At least a year from its processing (Digital Personal Data Protection Rules 2025, rule 8(3))."""
    CLINICAL = "clinical"
    """Three years from the start of treatment (Indian Medical Council regulations 2002, 1.3.1)."""
    FINANCIAL = "financial"
    """Eight years: books of account (Companies Act 2013, section 128(5))."""
    LOGS = "logs"
    """A year: logs of processing (Rules 2025, rules 6(1)(e) and 8(3))."""

    @property
    def data_class(self) -> DataClass | None:
        """The class whose keys go when this time is over; None where nothing is sealed under it alone."""
        return next((one for one in DataClass if one.value == self.value), None)
