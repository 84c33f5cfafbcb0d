"""What the columns of leads from ads say: activity and outcomes of their ads, when they came, what they are.

Belongs here: a group and phrases for each column of ``lead_ads``. Does not belong here: what a phrase is
(``phrases.py``) or which problem has which (``reason_phrases.py``).
"""

from __future__ import annotations

from collections.abc import Sequence

from elv_pipeline.problems.feature_specs import (
    EVERYTHING,
    Attribute,
    Calendar,
    HashedTokens,
    KnownAttribute,
    Level,
    Mix,
    OutcomeHistory,
    Ratio,
    WindowSum,
    public_name,
)
from elv_pipeline.problems.phrases import ReasonPhrase, Unit, attribute, category, plain
from elv_pipeline.problems.spec import FeatureSpec
from elv_pipeline.problems.words import QUALIFIED_LEADS

_HIGHER_IS_BETTER = frozenset({"ctr"})
_LEVEL_WORDS = {EVERYTHING.name: "account", "adset": "ad set"}
_MEASURE_WORDS = {
    "ctr": "click-through rate",
    "cpc": "cost per click",
    "cpm": "cost per 1,000 impressions",
    "geo": "region",
}


def phrases_of(feature: FeatureSpec, levels: Sequence[Level]) -> list[ReasonPhrase]:
    """Phrases of every column of one declaration; none of a kind that leads from ads do not have."""
    match feature:
        case WindowSum():
            return [phrase for level in levels for days in feature.windows for phrase in _sums(feature, level, days)]
        case Mix():
            return [phrase for level in levels for days in feature.windows for phrase in _mix(feature, level, days)]
        case OutcomeHistory():
            return [phrase for level in (EVERYTHING, *levels) for phrase in _history(feature, level)]
        case Calendar():
            return [_calendar(part) for part in feature.parts]
        case Attribute():
            return [attribute(feature, levels, QUALIFIED_LEADS)]
        case KnownAttribute():
            return [category(feature.column)]
        case HashedTokens():
            return _tokens(feature)
        case _:
            return []


def _sums(feature: WindowSum, level: Level, days: int) -> list[ReasonPhrase]:
    over = f"over {days} days"
    amounts = [
        _amount(
            f"{level.name}_{public_name(measure)}_{days}d",
            group=f"{level.name}_{public_name(measure)}",
            what=f"{_words(public_name(measure))} of the {_level(level)}",
            over=over,
            unit=_unit_of(measure),
        )
        for measure in feature.measures
    ]
    ratios = [
        _amount(
            f"{level.name}_{ratio.name}_{days}d",
            group=f"{level.name}_{ratio.name}",
            what=f"{_words(ratio.name)} of the {_level(level)}",
            over=over,
            unit=_unit_of_ratio(ratio),
            higher_is_better=ratio.name in _HIGHER_IS_BETTER,
        )
        for ratio in feature.ratios
    ]
    return [*amounts, *ratios, *_activity(level, days, trend=feature.trend_measure)]


def _activity(level: Level, days: int, *, trend: str) -> list[ReasonPhrase]:
    owner, over = _owner(level), f"over {days} days"
    return [
        ReasonPhrase(
            column=f"{level.name}_active_days_{days}d",
            group=f"{level.name}_active_days",
            group_words=f"days on which the {_level(level)} ran",
            high=f"{owner} ran on more days than usual of the last {days}",
            low=f"{owner} ran on fewer days than usual of the last {days}",
            usual=f"{owner} ran on as many days as usual of the last {days}",
            missing=f"nothing is known of the days on which {owner} ran",
            unit="count",
        ),
        ReasonPhrase(
            column=f"{level.name}_{trend}_trend_{days}d",
            group=f"{level.name}_{trend}_trend",
            group_words=f"trend of the {_words(trend)} of the {_level(level)}",
            high=f"{_words(trend)} of the {_level(level)} rose {over}",
            low=f"{_words(trend)} of the {_level(level)} fell {over}",
            usual=f"{_words(trend)} of the {_level(level)} were steady {over}",
            missing=f"{owner} had no {_words(trend)} {over}",
            unit="trend",
        ),
    ]


def _mix(feature: Mix, level: Level, days: int) -> list[ReasonPhrase]:
    stem, each = f"{level.name}_{feature.dimension}", _words(feature.dimension)
    shared, over = _words(public_name(feature.share_measure)), f"over {days} days"
    group, words = f"{stem}_mix", f"spread of the {_level(level)}'s delivery over {each}s"
    missing = f"nothing is known of the {_level(level)}'s {each}s {over}"

    def phrase(column: str, high: str, low: str, usual: str, unit: Unit) -> ReasonPhrase:
        return ReasonPhrase(
            column=f"{stem}_{column}_{days}d",
            group=group,
            group_words=words,
            high=f"{high} {over}",
            low=f"{low} {over}",
            usual=f"{usual} {over}",
            missing=missing,
            unit=unit,
        )

    share, of = public_name(feature.share_measure), f"{shared} of the {_level(level)}"
    totals = [
        _amount(
            f"{stem}_{public_name(measure)}_{days}d",
            group=f"{stem}_volume",
            group_words=f"volume of the {_level(level)}'s {each} breakdown",
            what=f"{_words(public_name(measure))} of the {_level(level)} by {each}",
            over=over,
            unit=_unit_of(measure),
        )
        for measure in feature.measures
    ]
    return [
        *totals,
        phrase(
            f"{share}_entropy",
            f"{of} was spread widely over {each}s",
            f"{of} was concentrated on few {each}s",
            f"{of} was spread over {each}s as usual",
            "decimal",
        ),
        phrase(
            f"top_{share}_share",
            f"one {each} took most {of}",
            f"no {each} took most {of}",
            f"the top {each} took its usual share of {of}",
            "share",
        ),
        phrase(
            "active",
            f"{_owner(level)} ran on many {each}s",
            f"{_owner(level)} ran on few {each}s",
            f"{_owner(level)} ran on the usual number of {each}s",
            "count",
        ),
    ]


def _history(feature: OutcomeHistory, level: Level) -> list[ReasonPhrase]:
    days, owner = feature.lookback_days, _owner(level)
    leads = f"{level.name}_leads_{days}d"
    return [
        ReasonPhrase(
            column=leads,
            group=f"{level.name}_leads",
            group_words=f"number of leads of the {_level(level)}",
            high=f"{owner} brought many leads in {days} days",
            low=f"{owner} brought few leads in {days} days",
            usual=f"{owner} brought its usual number of leads in {days} days",
            missing="it is not known where the lead came from"
            if level != EVERYTHING
            else "the number of leads is not known",
            unit="count",
        ),
        ReasonPhrase(
            column=f"{level.name}_qualified_rate_{days}d",
            group=f"{level.name}_qualified_rate",
            group_words=f"how often leads of the {_level(level)} qualified",
            high=f"{owner}'s leads qualified more often than usual",
            low=f"{owner}'s leads qualified less often than usual",
            usual=f"{owner}'s leads qualified about as often as usual",
            missing=f"it is not known yet how often {owner}'s leads qualify",
            unit="estimate",
            companion=leads,
            companion_words=f"leads in {days} days",
            companion_one=f"lead in {days} days",
            companion_none=f"no lead of {owner} in {days} days yet",
            higher_is_better=True,
        ),
    ]


def _calendar(part: str) -> ReasonPhrase:
    said: dict[str, tuple[str, Unit]] = {
        "weekday": ("the lead was created on a", "weekday"),
        "hour": ("the lead was created at", "hour"),
        "month_day": ("day of the month on which the lead was created", "number"),
    }
    text, unit = said[part]
    by_day = part == "month_day"
    return plain(
        f"created_{part}",
        group="created_month_day" if by_day else "created_moment",
        group_words="day of the month" if by_day else "weekday and hour of creation",
        text=text,
        missing="it is not known when the lead was created",
        unit=unit,
    )


def _tokens(feature: HashedTokens) -> list[ReasonPhrase]:
    """All as one: a hash bucket means nothing to a reader, and keywords may name what must not be spoken of."""
    words, missing = f"{_words(feature.name)} keywords of the ad set", f"the {_words(feature.name)} is not known"
    counts = {f"{feature.name}_tokens": "keywords", f"{feature.name}_distinct_tokens": "distinct keywords"}
    return [
        ReasonPhrase(
            column=column.name,
            group=f"{feature.name}_keywords",
            group_words=words,
            high=f"the {_words(feature.name)} has many {counts[column.name]}",
            low=f"the {_words(feature.name)} has few {counts[column.name]}",
            usual=f"the {_words(feature.name)} has the usual number of {counts[column.name]}",
            missing=missing,
            unit="count",
        )
        if column.name in counts
        else plain(
            column.name,
            group=f"{feature.name}_keywords",
            group_words=words,
            text=f"which {words} there are",
            missing=missing,
            unit="silent",
        )
        for column in feature.columns()
    ]


def _amount(
    column: str,
    *,
    group: str,
    what: str,
    over: str,
    unit: Unit,
    group_words: str | None = None,
    higher_is_better: bool = False,
) -> ReasonPhrase:
    return ReasonPhrase(
        column=column,
        group=group,
        group_words=group_words or what,
        high=f"high {what} {over}",
        low=f"low {what} {over}",
        usual=f"usual {what} {over}",
        missing=f"no {what} {over}",
        unit=unit,
        higher_is_better=higher_is_better,
    )


def _unit_of(measure: str) -> Unit:
    return "money" if measure.endswith("_micros") else "count"


def _unit_of_ratio(ratio: Ratio) -> Unit:
    if ratio.numerator.endswith("_micros"):
        return "money"
    return "share" if ratio.scale == 1 else "decimal"


def _level(level: Level) -> str:
    return _LEVEL_WORDS.get(level.name, level.name)


def _owner(level: Level) -> str:
    return f"the {_level(level)}"


def _words(name: str) -> str:
    return _MEASURE_WORDS.get(name, name.replace("_", " "))
