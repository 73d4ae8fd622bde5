"""A booking that was changed without a thought for those that are under way."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from models.booking import AppointmentState, PlaceBooking
    from workflows.booking import BookingWorkflow


@workflow.defn(name="BookingWorkflow")
class ChangedBookingWorkflow(BookingWorkflow):
    """Waits a little before it does what it always did."""

    @workflow.init
    def __init__(self, command: PlaceBooking) -> None:
        super().__init__(command)

    @workflow.run
    async def run(self, command: PlaceBooking) -> AppointmentState:
        await workflow.sleep(timedelta(seconds=1))
        return await super().run(command)
