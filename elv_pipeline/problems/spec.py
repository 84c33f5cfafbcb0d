"""The frozen description of a scoring problem.

Belongs here: the type that every problem fills in. Does not belong here: data access, training, or one problem's own
choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from elv_pipeline.problems.feature_specs import (
    Attribute,
    Calendar,
    FeatureColumn,
    FeatureSpec,
    Level,
    OutcomeHistory,
    WindowSum,
)


@dataclass(frozen=True, kw_only=True)
class DataAtHand:
    """Which optional parts of the data exist for one configuration; decides which features can be computed.

    Attributes:
        has_ads: a daily ads export is configured.
        has_outcomes: an outcomes export is configured.
        id_columns: id columns that leads can carry, directly or through the ads hierarchy or a mapping.
    """

    has_ads: bool
    has_outcomes: bool
    id_columns: tuple[str, ...]


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
    """

    name: str
    entity: str
    entity_key: str
    prediction_time: str
    outcome: str
    levels: tuple[Level, ...]
    features: tuple[FeatureSpec, ...]
    hierarchy_lookback_days: int

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

    def history_days(self, *, outcome_window_days: int, lag_days: int) -> int:
        """Days before a partition that its features may read."""
        spans = [self.hierarchy_lookback_days + lag_days]
        for feature in self.features:
            if isinstance(feature, WindowSum):
                spans.append(max(feature.windows) + lag_days)
            if isinstance(feature, OutcomeHistory):
                # One more day: a local day may begin before the UTC day that holds a lead's moment.
                spans.append(feature.lookback_days + outcome_window_days + 1)
        return max(spans)


def _columns_of(feature: FeatureSpec, levels: Sequence[Level], data: DataAtHand, lag_days: int) -> list[FeatureColumn]:
    if isinstance(feature, WindowSum):
        return feature.columns(levels=levels, lag_days=lag_days) if data.has_ads else []
    if isinstance(feature, OutcomeHistory):
        return feature.columns(levels=levels, with_outcomes=data.has_outcomes)
    if isinstance(feature, Calendar):
        return feature.columns()
    return feature.columns() if _available(feature, data) else []


def _available(attribute: Attribute, data: DataAtHand) -> bool:
    return attribute.column in data.id_columns
