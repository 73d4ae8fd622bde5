"""How MongoDB is reached: repositories that own their collection, its indexes and every query on it."""

import os

# Motor reads this once, when it is first imported, and would else have 5 threads per core: one for each operation
# in flight. Three times as many made a thousand racing clients no slower, and leave room for idle change streams.
os.environ.setdefault("MOTOR_MAX_WORKERS", "32")
