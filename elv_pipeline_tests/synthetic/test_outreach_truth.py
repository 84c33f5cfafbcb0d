from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from elv_pipeline.synthetic.outreach.effects import causal_effects
from elv_pipeline.synthetic.outreach.hazards import Draws, draw, event_time, redrawn, share_by
from elv_pipeline.synthetic.outreach.mechanism import simulate
from elv_pipeline.synthetic.outreach.organisation import (
    Organisation,
    OutreachSpec,
    World,
    build_world,
    generate_outreach,
)
from elv_pipeline.synthetic.outreach.plan import (
    INTRODUCTION_A,
    INTRODUCTION_B,
    REFERRAL,
    TEST_A,
    TEST_B,
    Booleans,
    Floats,
    planted,
)
from elv_pipeline.synthetic.outreach.truth import (
    TARGETS,
    future_draws,
    labels_at,
    moment_truth,
    probability_column,
)

SPEC = OutreachSpec(contacts=1_000)


@pytest.fixture(scope="module")
def organisation() -> Organisation:
    return generate_outreach(SPEC)


@pytest.fixture(scope="module")
def truth(organisation: Organisation) -> pl.DataFrame:
    return moment_truth(organisation, futures=4)


@pytest.fixture(scope="module")
def large() -> World:
    return build_world(OutreachSpec(contacts=40_000, seed=3))


@pytest.fixture(scope="module")
def effects() -> pl.DataFrame:
    organisation = generate_outreach(OutreachSpec(contacts=12_000))
    return pl.concat(
        [
            causal_effects(organisation, kinds=("step", "template", "channel"), replicates=3),
            causal_effects(
                organisation,
                kinds=("step_template", "step_channel", "step_wait"),
                elements=organisation.planted["element"],
                replicates=3,
            ),
        ]
    )


def effect(effects: pl.DataFrame, *, kind: str, element: str, versus: str, target: str) -> tuple[float, float]:
    row = effects.filter(kind=kind, element=element, compared_with=versus, target=target)
    return row["effect_ever"].item(), row["standard_error_ever"].item()


def test_a_waiting_time_follows_its_distribution() -> None:
    uniform = (np.arange(100_000) + 0.5) / 100_000
    time = event_time(np.zeros(100_000), chance=np.full(100_000, 0.3), uniform=uniform, delay=(1.2, 3.0))
    assert np.isfinite(time).mean() == pytest.approx(0.3, abs=1e-4)
    for day in (0.5, 2.0, 9.0):
        assert (time <= day).mean() == pytest.approx(0.3 * share_by(np.array(day), delay=(1.2, 3.0)), abs=1e-4)


def test_a_redrawn_event_keeps_the_past_and_has_the_conditional_future() -> None:
    rng = np.random.default_rng(1)
    uniform, count = rng.random(200_000), 200_000
    base, chance, delay = np.zeros(count), np.full(count, 0.6), (1.0, 2.0)
    before = event_time(base, chance=chance, uniform=uniform, delay=delay)
    again = redrawn(uniform, fresh=rng.random(count), base=base, chance=chance, until=np.full(count, 1.0), delay=delay)
    after = event_time(base, chance=chance, uniform=again, delay=delay)
    past = before <= 1.0
    assert np.array_equal(before[past], after[past])
    assert (after[~past] > 1.0).all()
    open_share = 0.6 * (share_by(np.array(3.0), delay=delay) - share_by(np.array(1.0), delay=delay))
    expected = open_share / (1 - 0.6 * share_by(np.array(1.0), delay=delay))
    assert (after[~past] <= 3.0).mean() == pytest.approx(float(expected), abs=0.006)
    assert np.corrcoef(uniform[~past], again[~past])[0, 1] == pytest.approx(0, abs=0.02)


def test_a_drawn_future_leaves_everything_up_to_the_moment_as_it_was(organisation: Organisation) -> None:
    world = organisation.world
    rows = np.flatnonzero(world.paths.sent[:, 2])
    moment, own, population = world.paths.slot[rows, 2], world.paths.take(rows), world.population.take(rows)
    fresh = draw(np.random.default_rng(5), count=len(rows), positions=world.plan.positions)
    draws = future_draws(world.draws.take(rows), fresh=fresh, paths=own, moment=moment)
    again = simulate(world.plan, population, draws, rates=world.rates)

    def seen(values: Floats, until: Floats) -> Floats:
        return np.where(values <= until, values, np.inf)

    assert np.array_equal(seen(own.time, moment[None, :, None]), seen(again.time, moment[None, :, None]))
    assert np.array_equal(own.slot[:, :3], again.slot[:, :3])
    assert np.array_equal(own.sent[:, :3], again.sent[:, :3])
    for name in ("booked", "qualified", "converted"):
        before, after = getattr(own, name), getattr(again, name)
        assert np.array_equal(seen(before, moment), seen(after, moment))
        assert not np.array_equal(before, after)


def test_the_truth_of_a_moment_does_not_know_what_comes_after_it(
    organisation: Organisation, truth: pl.DataFrame
) -> None:
    world = organisation.world
    count = len(world.population.campaign)
    luck = draw(np.random.default_rng(11), count=count, positions=world.plan.positions)
    other = replace(world, draws=luck, paths=simulate(world.plan, world.population, luck, rates=world.rates))
    changed = moment_truth(replace(organisation, world=other), futures=4)
    columns = ["moment_id", *map(probability_column, TARGETS)]
    at_enrollment = pl.col("position") == 0
    assert changed.filter(at_enrollment).select(columns).equals(truth.filter(at_enrollment).select(columns))
    labels = [f"true_{target}" for target in TARGETS]
    assert not changed.filter(at_enrollment).select(labels).equals(truth.filter(at_enrollment).select(labels))


def test_every_moment_of_the_exports_has_a_truth(organisation: Organisation, truth: pl.DataFrame) -> None:
    sent = organisation.engagement_logs.filter(pl.col("event") == "sent")
    steps = organisation.campaign_steps.select("step_id", "position")
    moments = sent.join(steps, on="step_id", validate="m:1").select(
        moment_id=pl.format("{}@{}", "enrollment_id", "position"), prediction_time="event_time"
    )
    joined = moments.join(truth, on="moment_id", validate="1:1")
    assert joined.height == moments.height
    assert (joined["prediction_time"] == joined["prediction_time_right"]).all()
    at_enrollment = organisation.enrollments.join(truth.filter(position=0), on="enrollment_id", validate="1:1")
    assert (at_enrollment["enrolled_time"] == at_enrollment["prediction_time"]).all()
    assert at_enrollment.height == organisation.enrollments.height


def test_a_moment_after_the_outcome_has_neither_label_nor_probability(
    organisation: Organisation, truth: pl.DataFrame
) -> None:
    qualified = organisation.outcomes.filter(outcome="qualified").select("enrollment_id", "outcome_time")
    late = truth.join(qualified, on="enrollment_id", validate="m:1").filter(
        pl.col("outcome_time") < pl.col("prediction_time")
    )
    assert late.height > 5
    assert late["true_qualified_within_14d"].null_count() == late.height
    assert late["true_p_qualified_14d"].null_count() == late.height
    never_engaged = truth.filter(pl.col("true_booked_call_within_7d").is_null())
    assert 0.01 < never_engaged.height / truth.height < 0.5


def test_true_probabilities_agree_with_what_happened(organisation: Organisation, truth: pl.DataFrame) -> None:
    # Grouped by an independent estimate: a group of the lowest estimates would be low by luck, too.
    independent = moment_truth(organisation, futures=4, seed=1)
    for target in TARGETS:
        name = probability_column(target)
        order = independent.select("moment_id", order=name)
        joined = truth.join(order, on="moment_id", validate="1:1")
        rows = joined.drop_nulls([f"true_{target}", name, "order"]).sort("order", "moment_id")
        assert rows[name].is_between(0, 1).all()
        for part in np.array_split(np.arange(rows.height), 4):
            group = rows[part]
            # Moments of one enrollment share their fate: the enrollment is what is independent.
            each = (group[f"true_{target}"].cast(pl.Float64) - group[name]).to_numpy()
            clusters = group.with_columns(pl.Series("each", each)).group_by("enrollment_id").agg(pl.col("each").sum())
            error = np.sqrt((clusters["each"] ** 2).sum()) / group.height
            assert abs(each.mean()) < 4 * error, (target, group[name].mean(), each.mean(), error)
        assert rows[name].quantile(0.9) > 2 * rows[name].quantile(0.1)


@pytest.mark.slow
def test_weak_elements_are_weak_and_confounded_ones_are_not(effects: pl.DataFrame) -> None:
    found = {(level, element): finding for level, element, finding, *_ in planted(OutreachSpec()).rows()}
    target = "booked_call_within_7d"
    for (level, element), finding in found.items():
        if finding == "weak":
            kind = "template" if level == "template" else "step_template"
            value, error = effect(effects, kind=kind, element=element, versus="average", target=target)
            assert value < -3 * error, (element, value, error)
        if finding == "wait_too_short":
            value, error = effect(effects, kind="step_wait", element=element, versus="3.5 days", target=target)
            assert value < -3 * error, (element, value, error)
        if finding == "removal_helps":
            value, error = effect(effects, kind="step", element=element, versus="left out", target=target)
            assert value < -3 * error, (element, value, error)
        if finding == "channel_switch_helps":
            value, error = effect(effects, kind="step_channel", element=element, versus="email", target=target)
            assert value < -3 * error, (element, value, error)
        if finding == "looks_bad":
            value, error = effect(effects, kind="template", element=element, versus="average", target=target)
            assert value > -2 * error, (element, value, error)
        if finding == "looks_good":
            value, error = effect(effects, kind="channel", element=element, versus="email", target=target)
            assert value < 2 * error, (element, value, error)


@pytest.mark.slow
def test_the_planted_step_is_the_one_to_leave_out(effects: pl.DataFrame) -> None:
    rows = effects.filter(kind="step", target="booked_call_within_7d").with_columns(
        z=pl.col("effect_ever") / pl.col("standard_error_ever")
    )
    weak = planted(OutreachSpec())["element"]
    assert rows.sort("effect_ever")["element"][0] == "cmp007_s3"
    assert set(rows.filter(pl.col("z") < -3)["element"]) <= set(weak)
    assert rows.filter(pl.col("z") > 3).height >= 10


def contrast(world: World, value: Booleans, *, first: int, second: int, weighted: bool) -> tuple[float, float]:
    """Difference of means between two campaigns, and its standard error; weighted by the inverse true propensity."""
    population = world.population
    parts = []
    for campaign in (first, second):
        own = population.campaign == campaign
        share = population.propensity[own, campaign] / population.propensity[own][:, [first, second]].sum(axis=1)
        weight = 1 / share if weighted else np.ones(own.sum())
        outcome = value[own].astype(np.float64)
        mean = np.average(outcome, weights=weight)
        parts.append((mean, np.sqrt((weight**2 * (outcome - mean) ** 2).sum()) / weight.sum()))
    return parts[0][0] - parts[1][0], float(np.hypot(parts[0][1], parts[1][1]))


@pytest.mark.slow
def test_the_confounded_template_looks_bad_and_weighting_clears_it(large: World) -> None:
    replied = np.isfinite(large.paths.time[1, :, 0])  # to the first step, where the template is
    naive, error = contrast(large, replied, first=INTRODUCTION_B, second=INTRODUCTION_A, weighted=False)
    assert naive < -5 * error
    true = same_people(large, replied=True)
    assert true > 0  # so the naive difference has the wrong sign
    adjusted, error = contrast(large, replied, first=INTRODUCTION_B, second=INTRODUCTION_A, weighted=True)
    assert abs(adjusted - true) < 3 * error
    assert abs(adjusted) < 0.25 * abs(naive)
    booked = np.isfinite(large.paths.booked)
    assert contrast(large, booked, first=INTRODUCTION_B, second=INTRODUCTION_A, weighted=False)[0] < -0.03
    adjusted, error = contrast(large, booked, first=INTRODUCTION_B, second=INTRODUCTION_A, weighted=True)
    assert abs(adjusted) < 3 * error


def same_people(world: World, *, replied: bool) -> float:
    """Mean difference when everybody is sent through Introduction B instead of A with the same luck."""
    found = []
    for campaign in (INTRODUCTION_B, INTRODUCTION_A):
        population = replace(world.population, campaign=np.full_like(world.population.campaign, campaign))
        paths = simulate(world.plan, population, world.draws, rates=world.rates)
        found.append(np.isfinite(paths.time[1, :, 0] if replied else paths.booked).mean())
    return float(found[0] - found[1])


@pytest.mark.slow
def test_letters_look_good_only_because_of_who_gets_them(large: World, effects: pl.DataFrame) -> None:
    booked = np.isfinite(large.paths.booked)
    # Test A is the same but for an e-mail in the place of the letter, and goes to anybody.
    naive, error = contrast(large, booked, first=REFERRAL, second=TEST_A, weighted=False)
    assert naive > 5 * error
    adjusted, error = contrast(large, booked, first=REFERRAL, second=TEST_A, weighted=True)
    assert abs(adjusted) < 3 * error
    assert abs(adjusted) < 0.35 * naive
    assert effect(effects, kind="channel", element="letter", versus="email", target="booked_call_within_7d")[0] < 0.01


@pytest.mark.slow
def test_the_randomised_campaigns_show_the_effect_of_the_weak_template_without_adjustment(large: World) -> None:
    first_reply = np.isfinite(large.paths.time[1, :, 1])
    naive, error = contrast(large, first_reply, first=TEST_B, second=TEST_A, weighted=False)
    assert naive < -4 * error
    quality_gap = (
        large.population.quality[large.population.campaign == TEST_B].mean()
        - large.population.quality[large.population.campaign == TEST_A].mean()
    )
    assert abs(quality_gap) < 0.06


def test_bookings_become_rarer_at_the_trend_break_and_not_before() -> None:
    world = build_world(OutreachSpec(contacts=4_000))
    unbroken = simulate(world.plan, world.population, world.draws, rates=replace(world.rates, break_day=float("inf")))
    break_day = world.rates.break_day
    late = world.population.enrolled >= break_day
    before = world.paths.booked < break_day
    assert np.array_equal(world.paths.booked[before], unbroken.booked[before])
    assert np.isfinite(world.paths.booked[late]).mean() < 0.8 * np.isfinite(unbroken.booked[late]).mean()
    assert planted(OutreachSpec()).filter(level="trend")["element"].item() == "2025-06-23"
    assert planted(OutreachSpec(trend_break_at=None)).filter(level="trend").is_empty()


def test_the_same_luck_under_the_same_plan_is_the_same_life() -> None:
    world = build_world(OutreachSpec(contacts=300))
    again = simulate(world.plan, world.population, world.draws, rates=world.rates)
    assert np.array_equal(again.time, world.paths.time)
    everything = np.ones(world.plan.channel.shape, dtype=np.bool_)
    nothing = simulate(world.plan.without(everything), world.population, world.draws, rates=world.rates)
    assert not nothing.sent.any()
    assert not np.isfinite(nothing.booked).any()
    assert isinstance(world.draws.take(np.arange(3)), Draws)


def test_labels_follow_their_anchors(organisation: Organisation) -> None:
    paths = organisation.world.paths
    moment = organisation.world.population.enrolled
    labels = labels_at(paths, moment)
    booked = labels.happened["booked_call_within_7d"]
    assert (paths.booked[booked] - paths.first_engagement[booked] <= 7).all()
    assert 0 < booked.sum() < np.isfinite(paths.booked).sum()  # some book later than that
    qualified = labels.happened["qualified_within_14d"]
    assert (paths.qualified[qualified] - moment[qualified] <= 14).all()
    assert np.array_equal(labels.open["booked_call_within_7d"], np.isfinite(paths.first_engagement))
