"""What all tests share: the servers (`tests.servers`) and hypothesis' settings."""

from hypothesis import settings

pytest_plugins = ["tests.servers", "tests.stack", "tests.booking.town"]

# No limit for one example: the time of a machine under load says nothing about the code.
settings.register_profile("visitnow", deadline=None)
settings.load_profile("visitnow")
