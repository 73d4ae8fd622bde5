"""A tenant's policy: typed, with defaults, snapshotted into each booking."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta
from typing import Annotated, Final, Self

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from models.base import Model
from models.data_classes import RetentionClass
from models.money import percent_of
from models.review_clock import ReviewCalendar

Seconds = Annotated[int, Field(ge=1, le=86_400 * 30)]
Minutes = Annotated[int, Field(ge=1, le=60 * 24 * 30)]

LONGEST_DAYS: Final = 36_500
"""A century: nobody's records are kept for longer, and every instant that far back can be reckoned."""
MAX_STEPS: Final = 20
MAX_LEADS: Final = 10
_WALL_TIME: Final = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::00)?", flags=re.ASCII)


def _wall_time(value: object) -> object:
    # Pydantic alone would read numbers as seconds since midnight, and zones that a wall does not have.
    if isinstance(value, time) or (isinstance(value, str) and _WALL_TIME.fullmatch(value)):
        return value
    msg = "must be a time of day like 21:00"
    raise ValueError(msg)


ClockTime = Annotated[
    time,
    BeforeValidator(
        _wall_time, json_schema_input_type=Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    ),
    PlainSerializer(lambda value: value.strftime("%H:%M"), return_type=str, when_used="json"),
]
"""A time of day on somebody's wall, `HH:MM` over the wire."""


class RefundStep(Model):
    """Cancelling at least `hours_before` the start gives back `percent` of what was paid."""

    hours_before: float = Field(ge=0, le=24 * 60)
    percent: int = Field(ge=0, le=100)


class QuietHours(Model):
    """Wall-clock hours of the recipient in which no message is sent unless it must be."""

    start: ClockTime = time(21)
    end: ClockTime = time(8)


class PromotionalHours(Model):
    """Wall-clock hours of the reader in which offers may be told (in India 10:00 to 21:00, TCCCPR 2018)."""

    start: ClockTime = time(10)
    end: ClockTime = time(21)


class RetentionDays(Model):
    """How long each class of data is kept after its purpose ends, in days; the defaults are the least the law lets."""

    identity: int = Field(default=365, ge=0, le=LONGEST_DAYS)
    clinical: int = Field(default=365 * 3, ge=0, le=LONGEST_DAYS)
    financial: int = Field(default=365 * 8, ge=0, le=LONGEST_DAYS)
    logs: int = Field(default=365, ge=0, le=LONGEST_DAYS)

    def too_short(self) -> dict[str, int]:
        """The classes that would be kept for less than the law asks, and the days that it asks (`RetentionClass`)."""
        least = RetentionDays().model_dump()
        return {name: days for name, days in least.items() if getattr(self, name) < days}


class RetentionSeconds(Model):
    """The same in seconds, for those that are named."""

    identity: int | None = Field(default=None, ge=0)
    clinical: int | None = Field(default=None, ge=0)
    financial: int | None = Field(default=None, ge=0)
    logs: int | None = Field(default=None, ge=0)


class TenantPolicy(Model):
    """What a tenant may set; the names are those of its settings. A booking keeps the policy it was made under."""

    payment_window_seconds: Seconds = 600
    payment_grace_seconds: int = Field(default=120, ge=0, le=3600)
    refund_schedule: tuple[RefundStep, ...] = Field(
        default=(RefundStep(hours_before=12, percent=100), RefundStep(hours_before=2, percent=50)),
        max_length=MAX_STEPS,
        description="From the earliest to the latest cancellation; later than the last gives nothing back.",
    )
    reschedule_until_hours: float = Field(default=4, ge=0, le=24 * 60)
    max_unpaid_holds: int = Field(default=3, ge=1, le=10_000)
    min_notice_minutes: int = Field(default=60, ge=0, le=60 * 24 * 30)
    horizon_days: int = Field(default=60, ge=1, le=366)
    no_show_grace_minutes: int = Field(default=30, ge=0, le=60 * 24)
    day_grace_hours: float = Field(default=24, ge=0, le=24 * 14)
    late_payment_watch_days: float = Field(default=7, gt=0, le=30)
    reminder_leads_minutes: tuple[Minutes, ...] = Field(default=(1440, 120), max_length=MAX_LEADS)
    quiet_hours: QuietHours = QuietHours()
    promotional_hours: PromotionalHours = PromotionalHours()
    delivery_receipt_timeout_seconds: Seconds = 120
    sla_hours: float = Field(default=48, gt=0, le=24 * 60)
    review_calendar: ReviewCalendar | None = None
    not_live_reminder_hours: float = Field(default=72, gt=0, le=24 * 30)
    grievance_days: float = Field(default=90, gt=0, le=90, description="Rules 2025, rule 14(3): at most 90.")
    correction_days: float = Field(default=30, gt=0, le=90)
    export_hours: float = Field(
        default=72, gt=0, le=72, description="By when an export is to be ready; medical records: at most 72."
    )
    export_kept_hours: float = Field(default=72, gt=0, le=24 * 30, description="How long it may be fetched then.")
    deletion_grace_days: float = Field(default=7, ge=0, le=90)
    retention_days: RetentionDays = RetentionDays()
    feedback_after_minutes: Minutes = 120
    feedback_reminder_hours: float = Field(default=48, gt=0, le=24 * 30)
    reminder_lead_seconds: Annotated[tuple[Seconds, ...], Field(max_length=MAX_LEADS)] | None = Field(
        default=None, description="In place of the leads above; in development only."
    )
    absence_choice_hours: float = Field(
        default=24,
        gt=0,
        le=24 * 14,
        description="How long a patient may choose another time when the doctor is away; never beyond the visit.",
    )
    absence_choice_seconds: Seconds | None = Field(
        default=None, description="In place of the hours above; in development only."
    )
    deletion_grace_seconds: int | None = Field(
        default=None, ge=0, le=86_400 * 90, description="In place of the days above; in development only."
    )

    export_kept_seconds: Seconds | None = Field(
        default=None, description="In place of the hours above; in development only."
    )
    retention_seconds: RetentionSeconds | None = Field(
        default=None, description="In place of the days above, for the classes that are named; in development only."
    )
    feedback_after_seconds: Seconds | None = Field(
        default=None, description="In place of the minutes above; in development only."
    )
    revisit_after_seconds: Seconds | None = Field(
        default=None, description="In place of the morning before the follow-up date; in development only."
    )

    @model_validator(mode="after")
    def _schedule_falls(self) -> Self:
        hours = [step.hours_before for step in self.refund_schedule]
        if hours != sorted(set(hours), reverse=True):
            msg = "refund_schedule must go from the earliest to the latest cancellation, each once"
            raise ValueError(msg)
        return self

    @property
    def payment_window(self) -> timedelta:
        """How long the patient sees a deadline for."""
        return timedelta(seconds=self.payment_window_seconds)

    @property
    def absence_choice(self) -> timedelta:
        """How long a patient may choose another time when the doctor is away."""
        if self.absence_choice_seconds is not None:
            return timedelta(seconds=self.absence_choice_seconds)
        return timedelta(hours=self.absence_choice_hours)

    def retention(self, kept: RetentionClass) -> timedelta:
        """How long a class of data is kept after its purpose has ended; what no rule keeps not at all."""
        if kept is RetentionClass.NONE:
            return timedelta()
        seconds = None if self.retention_seconds is None else getattr(self.retention_seconds, kept)
        return timedelta(days=getattr(self.retention_days, kept)) if seconds is None else timedelta(seconds=seconds)

    @property
    def export_kept(self) -> timedelta:
        """How long an export may be fetched."""
        if self.export_kept_seconds is not None:
            return timedelta(seconds=self.export_kept_seconds)
        return timedelta(hours=self.export_kept_hours)

    @property
    def payment_grace(self) -> timedelta:
        """How long after the visible deadline the slot is still kept."""
        return timedelta(seconds=self.payment_grace_seconds)


def refund_percent(policy: TenantPolicy, start: datetime, now: datetime) -> int:
    """The share of the fee that a patient who cancels at `now` gets back, in percent; elapsed hours, not days."""
    left = start - now
    for step in policy.refund_schedule:
        if left >= timedelta(hours=step.hours_before):
            return step.percent
    return 0


def refund_amount(policy: TenantPolicy, start: datetime, now: datetime, captured: int) -> int:
    """What a patient who cancels at `now` gets back of `captured`, in paise."""
    return percent_of(captured, refund_percent(policy, start, now))


def cancel_until(policy: TenantPolicy, start: datetime) -> datetime:
    """Until when cancelling gives everything back (UTC); the start itself where nothing ever does."""
    full = [step.hours_before for step in policy.refund_schedule if step.percent == 100]  # noqa: PLR2004
    return start - timedelta(hours=min(full, default=0))


def reschedule_until(policy: TenantPolicy, start: datetime) -> datetime:
    """Until when a patient may move the visit by themselves (UTC)."""
    return start - timedelta(hours=policy.reschedule_until_hours)
