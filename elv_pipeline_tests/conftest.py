"""What holds for every test: properties have no deadline, since a busy machine is no fault of the code.

Where several workers share the cores, each computes with one thread, so that they do not wait for each other. What must
not depend on the number of threads starts processes of its own.
"""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ.setdefault(name, "1")

from hypothesis import settings  # what it imports reads the environment once

settings.register_profile("elv", deadline=None)
settings.load_profile("elv")
