"""What every asset of one configuration has in common: key, group, owner, kinds, partitions, dependencies.

Belongs here: the keyword arguments of ``@asset``. Does not belong here: asset bodies.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, cast

import dagster as dg

from elv_pipeline import __version__
from elv_pipeline.orchestration.day_windows import Window as Window
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.partitions import daily_partitions, weekly_partitions

OWNER = "team:elv-pipeline"

# Parts of the interface that this project pins by version bound; the reminder on every start would hide real warnings.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)


Body = Callable[..., Any]
_HEAVY = (dg.MetadataValue, dg.TableSchema, dg.TableColumnLineage)
"""Pictures and previews in Markdown, schemas and lineage; figures and lists stay with every day."""


def asset(**arguments: Any) -> Callable[[Body], dg.AssetsDefinition]:
    """``@dg.asset`` with its one result for keyword arguments; unpacked, they hide the overload from a checker.

    What a daily asset tells about its newest day (pictures, previews, schema, lineage) is recorded with that day only.
    """
    make = cast("Callable[[Body], dg.AssetsDefinition]", dg.asset(**arguments))
    if not isinstance(arguments.get("partitions_def"), dg.DailyPartitionsDefinition):
        return make
    return lambda body: make(_told_once(body))


def _told_once(body: Body) -> Body:
    """Dagster repeats the metadata of a result on every partition of a range: 250 kB a day of lineage and pictures."""

    @wraps(body)
    def telling(context: dg.AssetExecutionContext, *args: Any, **kwargs: Any) -> Any:
        result = body(context, *args, **kwargs)
        if not isinstance(result, dg.MaterializeResult):
            return result
        told = result.metadata or {}
        heavy = {key: value for key, value in told.items() if isinstance(value, _HEAVY)}
        if heavy:
            context.add_asset_metadata(heavy, partition_key=context.partition_keys[-1])
        return result._replace(metadata={key: value for key, value in told.items() if key not in heavy})

    return telling


def asset_key(deployment: Deployment, table: str) -> dg.AssetKey:
    """Asset key of a table of a configuration."""
    name = deployment.called.get(table, table)
    return dg.AssetKey([deployment.config.shared_name if name in deployment.shared_tables else deployment.name, name])


class AssetParts:
    """Maker of asset arguments for one configuration."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.name = deployment.name
        self.days = daily_partitions(deployment)
        self.weeks = weekly_partitions(deployment)

    def key(self, noun: str) -> dg.AssetKey:
        """Asset key of a noun of this configuration, or of one that all targets of its file share."""
        return asset_key(self.deployment, noun)

    def common(
        self, noun: str, *, group: str, kinds: set[str], deps: Mapping[str, Window | None] | None = None
    ) -> dict[str, Any]:
        """Arguments of an unpartitioned asset; ``deps`` maps nouns to windows (None: the default mapping)."""
        return {
            "key": self.key(noun),
            "group_name": group,
            "kinds": kinds,
            "owners": [OWNER],
            "code_version": __version__,
            "deps": [self._dependency(upstream, window) for upstream, window in (deps or {}).items()],
            "tags": {"configuration": self.name},
        }

    def daily(
        self, noun: str, *, group: str, kinds: set[str], deps: Mapping[str, Window | None] | None = None
    ) -> dict[str, Any]:
        """Arguments of a daily asset. One policy for the whole chain: a range is one run, not a run a partition."""
        windows = {upstream: str(window) for upstream, window in (deps or {}).items() if window is not None}
        return {
            **self.common(noun, group=group, kinds=kinds, deps=dict.fromkeys(deps or {})),
            "metadata": {f"reads_{upstream}": window for upstream, window in windows.items()},
            "partitions_def": self.days,
            "backfill_policy": dg.BackfillPolicy.single_run(),
        }

    def weekly(
        self, noun: str, *, group: str, kinds: set[str], deps: Mapping[str, Window | None] | None = None
    ) -> dict[str, Any]:
        """Arguments of a weekly asset. One run an origin, so that a backfill never holds two training tables."""
        return {
            **self.common(noun, group=group, kinds=kinds, deps=deps),
            "partitions_def": self.weeks,
            "backfill_policy": dg.BackfillPolicy.multi_run(max_partitions_per_run=1),
        }

    def _dependency(self, noun: str, window: Window | None) -> dg.AssetDep:
        if window is None:
            return dg.AssetDep(self.key(noun))
        mapping = dg.TimeWindowPartitionMapping(
            start_offset=window.start, end_offset=window.end, allow_nonexistent_upstream_partitions=True
        )
        return dg.AssetDep(self.key(noun), partition_mapping=mapping)
