"""The frozen description of a scoring problem.

Belongs here: the type that every problem fills in. Does not belong here: data access, training, or one problem's own
choices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from elv_pipeline.problems.contact_specs import ContactHistory
from elv_pipeline.problems.event_specs import AnchoredTarget, EventSpec
from elv_pipeline.problems.feature_specs import (
    Attribute,
    FeatureColumn,
    HashedTokens,
    KnownAttribute,
    Level,
    Mix,
    OutcomeHistory,
    WindowSum,
)
from elv_pipeline.problems.feature_specs import FeatureSpec as AdFeatureSpec
from elv_pipeline.problems.step_specs import StepContent

FeatureSpec = AdFeatureSpec | EventSpec | StepContent | ContactHistory


@dataclass(frozen=True, kw_only=True)
class DataAtHand:
    """Which optional parts of the data exist for one configuration; decides which features can be computed.

    Attributes:
        has_ads: a daily ads export is configured.
        has_outcomes: an outcomes export is configured.
        id_columns: id columns that leads can carry, directly or through the ads hierarchy or a mapping.
        lead_attributes: further columns that leads carry, such as the platform.
        enrichments: optional tables that are configured.
    """

    has_ads: bool
    has_outcomes: bool
    id_columns: tuple[str, ...]
    lead_attributes: tuple[str, ...] = ()
    enrichments: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class ScoringProblem:
    """One thing to predict and act on.

    Attributes:
        name: key of the problem.
        entity: what one row is, in words.
        entity_key: id column of the entity.
        prediction_time: column that holds the moment of prediction; nothing after it may touch a feature.
        outcome: what is predicted, in words.
        levels: hierarchy, most specific first.
        features: declarations, in column order.
        hierarchy_lookback_days: how far back the ads export is read to place an id in its hierarchy.
        targets: what may be predicted of a row, by the configuration's name of it; empty where the outcomes export
            itself is the only target.
        calibration_columns: categories beside the campaign whose parts are calibrated against each other.
    """

    name: str
    entity: str
    entity_key: str
    prediction_time: str
    outcome: str
    levels: tuple[Level, ...]
    features: tuple[FeatureSpec, ...]
    hierarchy_lookback_days: int
    targets: Mapping[str, AnchoredTarget] = field(default_factory=dict)
    calibration_columns: tuple[str, ...] = ()

    @property
    def id_columns(self) -> tuple[str, ...]:
        """Ids of the levels that a row belongs to, most specific first."""
        return tuple(level.key for level in self.levels)

    @property
    def key_columns(self) -> tuple[str, ...]:
        """What every table of rows begins with: which row, when, where, and how that was found."""
        entity = () if self.entity_key == "lead_id" else (self.entity_key,)
        return ("lead_id", "created_time", "day", *self.id_columns, *entity, "join_method")

    def levels_at_hand(self, data: DataAtHand) -> list[Level]:
        """Levels whose id can exist in the data at hand."""
        return [level for level in self.levels if level.key in data.id_columns]

    def feature_columns(self, data: DataAtHand, *, lag_days: int) -> list[FeatureColumn]:
        """Every feature column that can be computed from the data at hand, in order."""
        levels = self.levels_at_hand(data)
        columns: list[FeatureColumn] = []
        for feature in self.features:
            columns.extend(_columns_of(feature, levels, data, lag_days))
        return columns

    def missing_sources(self, columns: Iterable[str]) -> dict[str, list[str]]:
        """Which source each of some feature columns would have come from, in the words of a configuration.

        Args:
            columns: feature columns that a model wants and the data at hand do not have.

        Returns:
            The columns by source, such as ``paths.ads_placement_path``; columns that this problem does not declare,
            or that need no optional source, are left out.
        """
        source_of = {
            column: source
            for feature in self.features
            if (source := _source_of(feature)) is not None
            for column in _names(feature, self.levels)
        }
        found: dict[str, list[str]] = {}
        for column in columns:
            if column in source_of:
                found.setdefault(source_of[column], []).append(column)
        return found

    @property
    def longest_window(self) -> int:
        """Days of the longest trailing window of any feature."""
        return max((max(f.windows) for f in self.features if isinstance(f, WindowSum | Mix)), default=0)

    def history_days(self, *, outcome_window_days: int, lag_days: int) -> int:
        """Days before a partition that its features may read."""
        spans = [self.hierarchy_lookback_days + lag_days]
        for feature in self.features:
            if isinstance(feature, WindowSum | Mix):
                spans.append(max(feature.windows) + lag_days)
            if isinstance(feature, OutcomeHistory):
                # One more day: a local day may begin before the UTC day that holds a lead's moment.
                spans.append(feature.lookback_days + outcome_window_days + 1)
        return max(spans)


def _columns_of(feature: FeatureSpec, levels: Sequence[Level], data: DataAtHand, lag_days: int) -> list[FeatureColumn]:
    if isinstance(feature, WindowSum):
        return feature.columns(levels=levels, lag_days=lag_days) if data.has_ads else []
    if isinstance(feature, Mix):
        return feature.columns(levels=mix_levels(feature, levels, data), lag_days=lag_days)
    if isinstance(feature, OutcomeHistory):
        return feature.columns(levels=levels, with_outcomes=data.has_outcomes)
    if isinstance(feature, Attribute | KnownAttribute | HashedTokens):
        return feature.columns() if is_available(feature, data) else []
    return feature.columns()


def mix_levels(mix: Mix, levels: Sequence[Level], data: DataAtHand) -> list[Level]:
    """Levels at which a breakdown can be summed: its own, and with an ads export those above it; none without it."""
    if mix.table not in data.enrichments:
        return []
    return [level for level in levels if data.has_ads or level.key == mix.key]


def is_available(feature: Attribute | KnownAttribute | HashedTokens, data: DataAtHand) -> bool:
    """Whether the data at hand have what a property of a lead, or of what it came from, needs."""
    if isinstance(feature, Attribute):
        return feature.column in (*data.id_columns, *data.lead_attributes)
    return feature.table in data.enrichments and feature.key in data.id_columns


def _source_of(feature: FeatureSpec) -> str | None:
    """What a user has to supply for a feature, beyond leads with ids."""
    if isinstance(feature, WindowSum | Mix | KnownAttribute | HashedTokens):
        return f"paths.{feature.table}_path"
    return f"{feature.column} of paths.leads_path" if isinstance(feature, Attribute) else None


def _names(feature: FeatureSpec, levels: Sequence[Level]) -> list[str]:
    if isinstance(feature, WindowSum | Mix):
        return [column.name for column in feature.columns(levels=levels, lag_days=0)]
    if isinstance(feature, OutcomeHistory):
        return [column.name for column in feature.columns(levels=levels, with_outcomes=True)]
    return [column.name for column in feature.columns()]
