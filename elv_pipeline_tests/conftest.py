"""What holds for every test: properties have no deadline, since a busy machine is no fault of the code."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("elv", deadline=None)
settings.load_profile("elv")
