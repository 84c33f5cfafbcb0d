"""The Dagster code location. Nothing happens at import: the graph is built when Dagster asks for it.

Belongs here: the one function that Dagster looks for. Does not belong here: how the graph is built
(``orchestration/code_location.py``).
"""

from __future__ import annotations

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Every configuration registered in the home folder."""
    from elv_pipeline.orchestration.code_location import build_defs

    return build_defs()
