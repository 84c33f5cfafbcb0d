"""Every declared column has a group and words, and some things are never spoken of."""

from __future__ import annotations

from elv_pipeline.problems.lead_ads import ENRICHMENTS, LEAD_ADS, LEAD_ATTRIBUTES
from elv_pipeline.problems.reason_phrases import reason_phrases, spoken_columns
from elv_pipeline.problems.sensitive import SENSITIVE
from elv_pipeline.problems.spec import DataAtHand

EVERYTHING = DataAtHand(
    has_ads=True,
    has_outcomes=True,
    id_columns=("ad_id", "adset_id", "campaign_id"),
    lead_attributes=LEAD_ATTRIBUTES,
    enrichments=frozenset(ENRICHMENTS),
)
DECLARED = [column.name for column in LEAD_ADS.feature_columns(EVERYTHING, lag_days=1)]
PHRASES = reason_phrases(LEAD_ADS)


def test_every_declared_column_has_a_group_and_phrases() -> None:
    assert set(PHRASES) == set(DECLARED)
    for phrase in PHRASES.values():
        assert phrase.group
        assert phrase.group_words
        texts = (phrase.high, phrase.low, phrase.usual, phrase.missing)
        assert all(text == text.strip() and len(text) <= 95 for text in texts), texts
        assert "_" not in "".join((*texts, phrase.group_words)), phrase.column


def test_a_few_dozen_groups_each_with_one_name() -> None:
    groups = {phrase.group for phrase in PHRASES.values()}
    words = {(phrase.group, phrase.group_words) for phrase in PHRASES.values()}
    assert 20 <= len(groups) <= 60
    assert len(words) == len(groups) == len({text for _, text in words})


def test_windows_of_one_measure_tokens_and_the_moment_are_one_group_each() -> None:
    def group(*columns: str) -> set[str]:
        return {PHRASES[column].group for column in columns}

    assert group(*(f"campaign_clicks_{days}d" for days in (3, 7, 14, 28))) == {"campaign_clicks"}
    assert group("created_hour", "created_weekday") == {"created_moment"}
    assert group(*(f"audience_token_{bucket:02d}" for bucket in range(64))) == {"audience_keywords"}
    assert group("ad_qualified_rate_90d") != group("campaign_qualified_rate_90d")


def test_a_companion_is_a_declared_column() -> None:
    companions = [phrase.companion for phrase in PHRASES.values() if phrase.companion is not None]
    assert companions
    assert set(companions) <= set(DECLARED)


def test_the_list_is_a_matter_of_configuration() -> None:
    assert spoken_columns(PHRASES) == frozenset(DECLARED)
    spoken = spoken_columns(PHRASES, denied=(*SENSITIVE, "audience", "created_moment"))
    assert not [column for column in spoken if column.startswith("audience_")]
    assert "created_hour" not in spoken
    assert "created_month_day" in spoken
