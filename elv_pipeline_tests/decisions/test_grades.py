"""Grades keep their meaning, percentiles their reference, and changes their sign."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.exceptions import ComputeError

from elv_pipeline.decisions.grades import GRADES, GradeScale, grade_evidence, score_changes, with_grades


def grades_of(scale: GradeScale, *probabilities: float | None) -> list[str | None]:
    frame = pl.DataFrame({"p": probabilities}, schema={"p": pl.Float64})
    return with_grades(frame.drop_nulls(), scale=scale, probability_column="p")["grade"].to_list()


@pytest.fixture(scope="module")
def judged() -> np.ndarray:
    return np.random.default_rng(1).beta(2, 18, 4_000)


def test_the_cut_offs_are_the_stated_multiples_of_the_average_judged_lead(judged: np.ndarray) -> None:
    scale = GradeScale.of(judged, known_rate=0.5)
    assert scale.from_judged_rows
    assert scale.average == pytest.approx(judged.mean())
    assert scale.lowest == pytest.approx(tuple(judged.mean() * multiple for multiple in (2, 1, 0.5)), rel=0.01)
    best, middle, least = scale.lowest
    assert grades_of(scale, best, middle, least, least - 1e-9) == ["A", "B", "C", "D"]
    assert grades_of(scale, 1.0, np.nextafter(best, 0), np.nextafter(middle, 0), 0.0) == ["A", "B", "C", "D"]


@given(
    rate=st.integers(1, 99_999).map(lambda share: share / 100_000),
    rows=st.integers(0, 60),
    scores=st.lists(st.floats(1e-9, 1), min_size=2, max_size=9),
)
def test_grades_are_ordered_and_reachable_at_any_base_rate(rate: float, rows: int, scores: list[float]) -> None:
    scale = GradeScale.of(np.full(rows, rate), known_rate=rate)
    best, middle, least = scale.lowest
    assert 0 < least < middle < best < 1
    assert middle <= scale.average * (1 + 1e-9)
    given_grades = grades_of(scale, *sorted(scores))
    assert given_grades == sorted(given_grades, key=lambda grade: -GRADES.index(grade or "D"))
    assert grades_of(scale, rate) == ["B"]  # a model that says the same of everyone calls everyone average
    percentiles = scale.percentile(np.array(sorted(scores)))
    assert rows == 0 or ((np.diff(percentiles) >= 0).all() and (percentiles >= 0).all() and (percentiles <= 100).all())


def test_a_high_base_rate_leaves_room_for_an_a() -> None:
    assert GradeScale.of(np.full(100, 0.6), known_rate=0.1).lowest == pytest.approx((0.8, 0.6, 0.3))


def test_few_judged_rows_leave_the_scale_to_the_known_rate() -> None:
    scale = GradeScale.of(np.full(29, 0.9), known_rate=0.1)
    assert not scale.from_judged_rows
    assert scale.lowest == pytest.approx((0.2, 0.1, 0.05))
    assert "leads learned from" in scale.meanings()["A"]


def test_the_scale_survives_json_and_ignores_the_order_of_rows(judged: np.ndarray) -> None:
    scale = GradeScale.of(judged, known_rate=0.1)
    assert GradeScale.from_dict(json.loads(json.dumps(scale.to_dict()))) == scale
    assert GradeScale.of(judged[::-1], known_rate=0.1) == scale


def test_meanings_state_the_cut_offs_in_percent() -> None:
    meanings = GradeScale.of(np.full(50, 0.08), known_rate=0.1).meanings()
    assert meanings["A"] == "Probability of 16 % or more: at least 2.0 times the average of the judged leads (8 %)."
    assert meanings["C"].startswith("Probability from 4 % to below 8 %")
    assert list(meanings) == list(GRADES)


def test_a_percentile_is_the_share_of_judged_leads_below(judged: np.ndarray) -> None:
    scale = GradeScale.of(judged, known_rate=0.1)
    asked = np.quantile(judged, [0.1, 0.5, 0.9, 0.99])
    assert scale.percentile(asked) == pytest.approx([10, 50, 90, 99], abs=0.3)
    assert scale.percentile(np.array([0.0, 1.0])).tolist() == [0.0, 100.0]
    assert scale.percentile(judged).mean() == pytest.approx(50, abs=0.1)


def test_ties_share_the_middle_percentile() -> None:
    scale = GradeScale.of(np.repeat([0.1, 0.2], [300, 100]), known_rate=0.1)
    assert scale.percentile(np.array([0.05, 0.1, 0.2, 0.3])) == pytest.approx([0, 37.5, 87.5, 100], abs=0.3)
    same = GradeScale.of(np.full(100, 0.1), known_rate=0.1)
    assert same.percentile(np.array([0.05, 0.1, 0.2])).tolist() == [0, 50, 100]


def test_without_judged_rows_there_is_a_grade_and_no_percentile() -> None:
    scale = GradeScale.of(np.empty(0), known_rate=0.1)
    found = with_grades(pl.DataFrame({"p": [0.3, 0.01]}), scale=scale, probability_column="p")
    assert found["grade"].to_list() == ["A", "D"]
    assert found["percentile"].to_list() == [None, None]
    assert with_grades(found.clear(), scale=scale, probability_column="p").schema == found.schema


def test_a_change_is_in_percentage_points_and_null_for_new_leads() -> None:
    scored = pl.DataFrame({"lead_id": ["b", "a", "c"], "p": [0.30, 0.10, 0.2]})
    previous = pl.DataFrame({"lead_id": ["a", "b", "gone"], "p": [0.15, 0.2788, 0.5]})
    found = score_changes(scored, previous, probability_column="p")
    assert found["lead_id"].to_list() == ["b", "a", "c"]
    assert found["score_change"].to_list() == [2.12, -5.0, None]
    assert found.columns == ["lead_id", "p", "score_change"]
    first = score_changes(scored, None, probability_column="p")
    assert first.schema == found.schema
    assert first["score_change"].null_count() == 3


def test_a_lead_with_two_previous_scores_is_refused() -> None:
    scored = pl.DataFrame({"lead_id": ["a"], "p": [0.1]})
    with pytest.raises(ComputeError):
        score_changes(scored, pl.concat([scored, scored]), probability_column="p")


def test_evidence_of_a_calibrated_model_keeps_every_promise(judged: np.ndarray) -> None:
    scale = GradeScale.of(judged, known_rate=0.1)
    later = np.random.default_rng(2).beta(2, 18, 20_000)
    y = (np.random.default_rng(3).random(20_000) < later).astype(np.int8)
    found = grade_evidence(later, y, scale=scale)
    assert found["grade"].to_list() == list(GRADES)
    assert found["verdict"].to_list() == ["kept"] * 4
    assert found["rows"].sum() == 20_000
    assert found["positives"].sum() == y.sum()
    assert found["share"].sum() == pytest.approx(1)
    assert found["observed_rate"].is_sorted(descending=True)
    assert found["lift"][0] > 2
    assert (found["observed_low"] < found["observed_rate"]).all()
    clustered = grade_evidence(later, y, scale=scale, clusters=np.arange(20_000) // 500)
    assert (clustered["observed_low"] <= found["observed_low"]).all()


def test_a_broken_promise_and_too_few_rows_are_named(judged: np.ndarray) -> None:
    scale = GradeScale.of(judged, known_rate=0.1)
    p = np.array([0.9] * 200 + [0.12] * 200 + [0.001] * 200 + [0.07] * 29)
    y = np.array([0] * 200 + [1, 0, 0, 0, 0, 0, 0, 0] * 25 + [1, 0] * 100 + [0] * 29, dtype=np.int8)
    found = grade_evidence(p, y, scale=scale)
    assert found["verdict"].to_list() == ["missed_low", "kept", "too_few_rows", "missed_high"]
    empty = grade_evidence(np.empty(0), np.empty(0, dtype=np.int8), scale=scale)
    assert empty["verdict"].to_list() == ["too_few_rows"] * 4
    assert empty.schema == found.schema
