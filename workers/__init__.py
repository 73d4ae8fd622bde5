"""The worker processes: one entry per family of task queues, and the relay of the outbox."""
