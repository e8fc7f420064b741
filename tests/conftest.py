"""What holds for all tests."""

from hypothesis import settings

# How long an example takes is the machine's doing, and no test depends on the clock.
settings.register_profile("steelyard", deadline=None)
settings.load_profile("steelyard")
