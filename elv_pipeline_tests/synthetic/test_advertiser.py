from __future__ import annotations

import ast
import hashlib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import elv_pipeline.synthetic
from elv_pipeline.errors import ConfigError
from elv_pipeline.synthetic.advertiser import EXPORTS, Advertiser, AdvertiserSpec, generate, write
from elv_pipeline.synthetic.delay import delay_cdf, draw_delay_seconds
from elv_pipeline.synthetic.spec import LateCampaign

AD_NAMES = ["campaign_id", "campaign_name", "adset_id", "adset_name", "ad_id", "ad_name"]
AD_COLUMNS = ["date", *AD_NAMES, "impressions", "clicks", "spend"]
LEAD_COLUMNS = ["lead_id", "created_time", "ad_id", "adset_id", "campaign_id", "platform"]
PERSONAL_COLUMNS = ["full_name", "email", "phone_number"]
TRUTH_COLUMNS = ["lead_id", "true_p", "true_qualified_within_window", "true_qualified_time"]
WINDOW = timedelta(days=14)


@pytest.fixture(scope="module")
def spec() -> AdvertiserSpec:
    return AdvertiserSpec()


@pytest.fixture(scope="module")
def advertiser(spec: AdvertiserSpec) -> Advertiser:
    return generate(spec)


@pytest.fixture(scope="module")
def large() -> Advertiser:
    return generate(AdvertiserSpec(leads=120_000, campaigns=30, seed=3))


def checksums(folder: Path, *, seed: int) -> dict[str, str]:
    paths = write(generate(AdvertiserSpec(leads=2_000, days=60, seed=seed)), folder)
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()}


def test_the_same_seed_writes_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    first, again = checksums(tmp_path / "a", seed=7), checksums(tmp_path / "b", seed=7)
    other = checksums(tmp_path / "c", seed=8)
    assert first == again
    assert all(first[name] != other[name] for name in first)


def test_files_have_the_documented_columns_and_formats(tmp_path: Path, advertiser: Advertiser) -> None:
    paths = write(advertiser, tmp_path / "new" / "folder")
    lines = {name: paths[name].read_text().splitlines() for name in ("ads", "leads", "outcomes")}
    assert lines["ads"][0].split(",") == AD_COLUMNS
    assert lines["leads"][0].split(",") == LEAD_COLUMNS + PERSONAL_COLUMNS
    assert lines["outcomes"][0].split(",") == ["lead_id", "qualified_time"]
    text = {name: pl.read_csv(paths[name], infer_schema=False) for name in ("ads", "leads", "outcomes")}
    stamp = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"
    assert text["leads"]["created_time"].str.contains(stamp).all()
    assert text["outcomes"]["qualified_time"].drop_nulls().str.contains(stamp).all()
    assert text["ads"]["date"].str.contains(r"^\d{4}-\d\d-\d\d$").all()
    assert text["ads"]["spend"].str.contains(r"^\d+\.\d\d$").all()
    found = {path.name for path in paths["ads"].parent.iterdir()}
    assert found == {*(f"{name}.csv" for name in EXPORTS), "truth.parquet"}
    assert pl.read_parquet(paths["truth"]).equals(advertiser.truth)


def test_the_frames_are_typed(advertiser: Advertiser) -> None:
    moment = pl.Datetime("us", "UTC")
    assert advertiser.ads.schema["date"] == pl.Date
    assert advertiser.leads.schema["created_time"] == moment
    assert advertiser.outcomes.schema == {"lead_id": pl.String, "qualified_time": moment}
    assert advertiser.truth.columns == TRUTH_COLUMNS
    assert advertiser.truth["lead_id"].equals(advertiser.leads["lead_id"])
    assert advertiser.leads["created_time"].is_sorted()


def test_a_failed_write_leaves_the_earlier_file_whole(
    tmp_path: Path, advertiser: Advertiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = write(advertiser, tmp_path)["ads"].read_bytes()

    def dies(_frame: pl.DataFrame, path: Path, **_: object) -> None:
        path.write_text("half a fi")
        raise OSError("disk full")

    monkeypatch.setattr(pl.DataFrame, "write_csv", dies)
    with pytest.raises(OSError, match="disk full"):
        write(advertiser, tmp_path)
    assert (tmp_path / "ads.csv").read_bytes() == before
    assert not list(tmp_path.glob("*.tmp")) + list(tmp_path.glob(".*"))


def test_ads_hold_one_plausible_row_per_running_ad_and_day(spec: AdvertiserSpec, advertiser: Advertiser) -> None:
    ads = advertiser.ads
    assert not ads.select("date", "ad_id").is_duplicated().any()
    assert ads["date"].n_unique() == spec.days
    assert (ads["date"].min(), ads["date"].max()) == (spec.start_date, spec.start_date + timedelta(days=spec.days - 1))
    assert ads.filter(pl.col("clicks") > pl.col("impressions")).is_empty()
    assert ads.select(pl.min_horizontal("impressions", "clicks", "spend").min()).item() >= 0
    assert np.array_equal(ads["spend"].to_numpy(), ads["spend"].round(2).to_numpy())
    assert ads.group_by("ad_id").agg(pl.col("adset_id", "campaign_id", "ad_name").n_unique()).max().row(0)[1:] == (
        1,
        1,
        1,
    )


def test_ads_start_stop_and_pause_and_campaigns_start_late(spec: AdvertiserSpec, advertiser: Advertiser) -> None:
    first, last = pl.col("date").min().alias("first"), pl.col("date").max().alias("last")
    by_ad = advertiser.ads.group_by("ad_id").agg(first, last, pl.len().alias("rows"))
    assert by_ad.filter(pl.col("first") > spec.start_date).height > 0.3 * by_ad.height
    assert by_ad.filter(pl.col("last") < spec.start_date + timedelta(days=spec.days - 1)).height > 0.3 * by_ad.height
    assert by_ad.filter(pl.col("rows") < (pl.col("last") - pl.col("first")).dt.total_days() + 1).height >= 3
    by_campaign = advertiser.ads.group_by("campaign_id").agg(first, pl.col("spend").sum())
    assert by_campaign.filter(pl.col("first") > spec.start_date + timedelta(days=10)).height >= 2
    assert by_campaign["spend"].max() > 3 * by_campaign["spend"].min()  # type: ignore[operator]


def test_every_lead_comes_from_a_click_of_its_day(advertiser: Advertiser) -> None:
    brought = (
        advertiser.leads.drop_nulls("ad_id")
        .group_by(pl.col("created_time").dt.date().alias("date"), "ad_id")
        .len("leads")
        .join(advertiser.ads, on=["date", "ad_id"], how="left", validate="1:1")
    )
    assert brought["clicks"].null_count() == 0
    assert brought.filter(pl.col("leads") > pl.col("clicks")).is_empty()


def test_a_local_day_is_kept_across_clock_changes() -> None:
    spec = AdvertiserSpec(leads=4_000, start_date=date(2025, 3, 20), days=20, timezone="America/New_York", seed=2)
    found = generate(spec)
    days = found.leads.drop_nulls("ad_id").with_columns(
        date=pl.col("created_time").dt.convert_time_zone(spec.timezone).dt.date()
    )
    assert days.join(found.ads, on=["date", "ad_id"], how="anti").is_empty()
    assert days["date"].n_unique() == spec.days
    autumn = AdvertiserSpec(start_date=date(2025, 10, 26), days=2, timezone="Europe/Berlin").midnights()
    assert np.diff(autumn).tolist() == [25 * 3600, 24 * 3600]


def test_some_leads_lack_ids_from_the_ad_upwards(large: Advertiser) -> None:
    leads = large.leads
    share = {
        name: leads.filter(rule).height / leads.height
        for name, rule in {
            "no id": pl.col("campaign_id").is_null(),
            "no ad": pl.col("ad_id").is_null(),
            "no ad set": pl.col("adset_id").is_null(),
        }.items()
    }
    assert share == pytest.approx({"no id": 0.01, "no ad": 0.055, "no ad set": 0.025}, abs=0.002)
    assert leads.filter(pl.col("ad_id").is_not_null() & pl.col("adset_id").is_null()).is_empty()
    assert leads.filter(pl.col("adset_id").is_not_null() & pl.col("campaign_id").is_null()).is_empty()


def test_personal_columns_are_invented_and_optional(advertiser: Advertiser) -> None:
    assert advertiser.leads["email"].str.ends_with("@example.invalid").all()
    assert advertiser.leads["phone_number"].str.contains(r"^\+1-202-555-01\d\d$").all()
    spec = AdvertiserSpec(personal_columns=False)
    assert generate(spec).leads.equals(advertiser.leads.drop(PERSONAL_COLUMNS))


@pytest.mark.parametrize("seed", [7, 11, 12])
@pytest.mark.parametrize("base_rate", [0.03, 0.08, 0.2])
def test_the_base_rate_is_what_was_asked_for(seed: int, base_rate: float) -> None:
    truth = generate(AdvertiserSpec(seed=seed, base_rate=base_rate)).truth
    assert truth["true_p"].mean() == pytest.approx(base_rate, abs=1e-6)
    noise = 4 * (base_rate * (1 - base_rate) / truth.height) ** 0.5
    assert truth["true_qualified_within_window"].mean() == pytest.approx(base_rate, abs=noise)


def test_true_probabilities_are_calibrated_in_every_decile(large: Advertiser) -> None:
    deciles = (
        large.truth.sort("true_p")
        .with_columns(decile=pl.int_range(pl.len()) * 10 // pl.len())
        .group_by("decile")
        .agg(pl.len(), pl.col("true_p").mean(), observed=pl.col("true_qualified_within_window").mean())
    )
    p, observed, rows = (deciles[name].to_numpy() for name in ("true_p", "observed", "len"))
    assert (np.abs(observed - p) < 4 * np.sqrt(p * (1 - p) / rows)).all()
    assert observed.max() > 8 * observed.min()


@pytest.mark.parametrize("seed", [7, 11, 12, 13])
def test_a_perfect_model_is_good_but_not_clairvoyant(seed: int) -> None:
    truth = generate(AdvertiserSpec(seed=seed)).truth.with_columns(rank=pl.col("true_p").rank())
    ranks = truth.filter("true_qualified_within_window")["rank"].to_numpy()
    positives, negatives = len(ranks), truth.height - len(ranks)
    auc = (ranks.sum() - positives * (positives + 1) / 2) / (positives * negatives)
    assert 0.71 < auc < 0.81


def test_the_truth_agrees_with_itself(advertiser: Advertiser) -> None:
    rows = advertiser.truth.join(advertiser.leads, on="lead_id", validate="1:1")
    within = (pl.col("true_qualified_time") <= pl.col("created_time") + WINDOW).fill_null(False)
    assert rows.filter(within != pl.col("true_qualified_within_window")).is_empty()
    assert rows.filter(pl.col("true_qualified_time") <= pl.col("created_time")).is_empty()


def test_outcomes_are_what_was_recorded_by_the_end(spec: AdvertiserSpec, advertiser: Advertiser) -> None:
    end = datetime(2025, 1, 6, tzinfo=UTC) + timedelta(days=spec.days)
    recorded = advertiser.outcomes.drop_nulls()
    truth = advertiser.truth.select("lead_id", qualified_time="true_qualified_time").drop_nulls()
    assert recorded.equals(truth.filter(pl.col("qualified_time") < end))
    assert truth.height > recorded.height  # some qualify only after the data end: right censoring
    assert not advertiser.outcomes["lead_id"].is_duplicated().any()


def test_disqualified_leads_have_a_row_without_a_time_and_never_qualify(advertiser: Advertiser) -> None:
    disqualified = advertiser.outcomes.filter(pl.col("qualified_time").is_null())
    assert 0.02 < disqualified.height / advertiser.leads.height < 0.08
    later = advertiser.truth.join(disqualified, on="lead_id", how="semi")
    assert later["true_qualified_time"].null_count() == disqualified.height


def test_a_log_that_starts_late_lacks_the_early_outcomes_only(spec: AdvertiserSpec, advertiser: Advertiser) -> None:
    late = generate(AdvertiserSpec(left_truncation_days=60))
    starts = datetime(2025, 1, 6, tzinfo=UTC) + timedelta(days=60)
    assert late.leads.equals(advertiser.leads)
    expected = advertiser.outcomes.drop_nulls().filter(pl.col("qualified_time") >= starts)
    assert late.outcomes.drop_nulls().equals(expected)
    assert expected.height < advertiser.outcomes.drop_nulls().height


@pytest.mark.parametrize("seed", [7, 11, 12])
def test_drift_lowers_the_late_rate_and_moves_the_spend(seed: int) -> None:
    plain, drifted = AdvertiserSpec(seed=seed), AdvertiserSpec(seed=seed, drift=True)
    turn = drifted.start_date + timedelta(days=drifted.drift_day)
    late = pl.col("created_time").dt.date() >= turn

    def rates(found: Advertiser) -> tuple[float, float]:
        rows = found.truth.join(found.leads, on="lead_id", validate="1:1")
        early, after = rows.filter(~late)["true_p"].mean(), rows.filter(late)["true_p"].mean()
        assert isinstance(early, float)
        assert isinstance(after, float)
        return early, after

    steady, moved = generate(plain), generate(drifted)
    assert rates(moved)[0] == pytest.approx(0.08, abs=1e-6)
    assert rates(moved)[1] < 0.7 * rates(moved)[0]
    assert rates(moved)[1] < rates(steady)[1] * 0.8
    before = pl.col("date") < turn
    assert moved.ads.filter(before).equals(steady.ads.filter(before))
    spend = pl.col("spend").sum()
    shares = [
        found.ads.filter(~before).group_by("campaign_id").agg(spend).sort("campaign_id")["spend"]
        for found in (steady, moved)
    ]
    steady_share, moved_share = (values.to_numpy() / values.to_numpy().sum() for values in shares)
    assert np.abs(steady_share - moved_share).sum() > 0.2


def test_delays_follow_their_distribution() -> None:
    days = draw_delay_seconds(np.random.default_rng(1), count=200_000) / 86_400
    assert 3.5 < np.median(days) < 4.5
    for limit in (1, 7, 14, 30):
        assert (days <= limit).mean() == pytest.approx(delay_cdf(limit), abs=0.004)
    assert 0.88 < delay_cdf(14) < 0.95
    assert days.min() > 0


def test_trailing_click_rates_tell_good_ads_from_bad(large: Advertiser) -> None:
    daily = large.ads.sort("ad_id", "date").with_columns(
        pl.col("clicks", "impressions").rolling_sum(7).shift(1).over("ad_id")
    )
    rows = (
        large.leads.drop_nulls("ad_id")
        .join(large.truth, on="lead_id", validate="1:1")
        .with_columns(date=pl.col("created_time").dt.date())
        .join(daily.drop_nulls().filter(pl.col("impressions") > 0), on=["date", "ad_id"], validate="m:1")
        .with_columns(ctr=pl.col("clicks") / pl.col("impressions"))
    )
    assert rows.height > 80_000
    assert rows.select(pl.corr("ctr", "true_p", method="spearman")).item() > 0.3


@pytest.mark.parametrize(
    "spec",
    [
        AdvertiserSpec(leads=100, days=2, campaigns=1, adsets_per_campaign=1, ads_per_adset=1),
        AdvertiserSpec(leads=2_000, campaigns=2, days=30, timezone="America/Sao_Paulo"),
        AdvertiserSpec(leads=2_000, campaigns=400, days=40, drift=True),
    ],
    ids=["one ad", "two campaigns", "more ads than leads"],
)
def test_odd_sizes_still_hold_the_contract(spec: AdvertiserSpec) -> None:
    found = generate(spec)
    assert found.leads.height == found.truth.height == spec.leads
    assert found.ads["date"].n_unique() == spec.days
    assert found.truth["true_p"].is_between(0, 1, closed="none").all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"leads": 5}, "leads is 5; leads must be between 100"),
        ({"days": 1}, "days is 1; days must be at least 2"),
        ({"campaigns": 0}, "campaigns is 0"),
        ({"base_rate": 0.9}, "base_rate is 0.9; base_rate must be above 0 and below 0.8"),
        ({"left_truncation_days": 240}, "left_truncation_days is 240"),
        ({"drift_starts_at": 1.0}, "drift_starts_at is 1.0"),
        ({"seed": -1}, "seed is -1"),
        ({"timezone": "Mars/Olympus"}, "timezone is 'Mars/Olympus'"),
    ],
)
def test_an_impossible_spec_is_refused_with_value_and_rule(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        AdvertiserSpec(**change)  # type: ignore[arg-type]


def test_the_package_stands_beside_the_layers() -> None:
    allowed = ("elv_pipeline.errors", "elv_pipeline.synthetic", "numpy", "polars", "sklearn")
    standard = ("__future__", "collections", "dataclasses", "datetime", "math", "os", "pathlib", "typing", "zoneinfo")
    for path in Path(elv_pipeline.synthetic.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert all(name.startswith(allowed + standard) for name in names), (path.name, names)


def test_a_late_campaign_opens_on_its_day_with_about_its_share_and_quality() -> None:
    late = LateCampaign(opens_on_day=150, share=0.3, quality=1.0)
    found = generate(AdvertiserSpec(leads=20_000, days=180, late_campaign=late))
    newest = f"cmp{AdvertiserSpec().campaigns:06d}"
    opening = AdvertiserSpec().start_date + timedelta(days=late.opens_on_day)
    ads = found.ads.filter(pl.col("campaign_id") == newest)
    assert ads["date"].min() == opening
    assert ads["date"].n_unique() == 30
    since = found.leads.join(found.truth, on="lead_id", validate="1:1").filter(
        pl.col("created_time").dt.date() >= opening
    )
    mine = since["campaign_id"] == newest
    assert 0.2 < mine.mean() < 0.5  # type: ignore[operator]
    assert since.filter(mine)["true_p"].mean() > 1.5 * since.filter(~mine)["true_p"].mean()  # type: ignore[operator]


def test_a_late_campaign_that_never_opens_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"late_campaign\.opens_on_day is 240; .* below 240"):
        AdvertiserSpec(late_campaign=LateCampaign(opens_on_day=240))
    with pytest.raises(ConfigError, match=r"late_campaign\.share is 1"):
        AdvertiserSpec(late_campaign=LateCampaign(opens_on_day=1, share=1))
