"""Ids are hashed with a key, alike everywhere, and nothing stored under one key is mixed with another."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import polars as pl
import pytest

from elv_pipeline.errors import ConfigError
from elv_pipeline.privacy import (
    DIGESTS_OF_NOTHING,
    IdHasher,
    hasher_of,
    keyed_digests,
    new_salt,
    require_same_key,
    shown_id,
)
from elv_pipeline.settings import PipelineConfig

KEY = "k" * 64
HASHED = {"hashed_columns": ["lead_id", "ad_id"]}


def config_with(privacy: dict[str, object]) -> PipelineConfig:
    return PipelineConfig.model_validate({"paths": {"leads_path": "leads.csv"}, "privacy": privacy})


def hasher(key: str = KEY) -> IdHasher:
    return IdHasher(key.encode(), ("lead_id", "ad_id"))


@pytest.mark.parametrize("key", ["k" * 32, "k" * 64, "k" * 65, "k" * 200])
@pytest.mark.parametrize("value", ["L1", "", "ä😀", "x" * 500])
def test_the_hash_is_the_standard_hmac_cut_to_128_bits(key: str, value: str) -> None:
    expected = hmac.new(key.encode(), value.encode(), hashlib.sha256).digest()[:16].hex()
    assert hasher(key).text(value) == expected
    assert len(expected) == 32


def test_columns_of_text_and_categories_are_hashed_alike_and_the_others_stay() -> None:
    rows = pl.DataFrame(
        {"lead_id": ["L1", None, "L2", "L1"], "ad_id": ["A", "B", None, "A"], "adset_id": ["S", "S", "S", "S"]}
    )
    found = hasher().frame(rows)
    assert found["lead_id"].to_list() == [hasher().text("L1"), None, hasher().text("L2"), hasher().text("L1")]
    assert found["adset_id"].to_list() == ["S"] * 4
    categories = rows.cast({"ad_id": pl.Categorical})
    assert hasher().frame(categories)["ad_id"].to_list() == found["ad_id"].to_list()
    assert found["lead_id"].n_unique() == 3


def test_numbers_and_padded_texts_are_the_same_lead() -> None:
    text = hasher().text("1200001")
    assert hasher().series(pl.Series("lead_id", [1200001])).to_list() == [text]
    assert hasher().series(pl.Series("lead_id", [1200001.0])).to_list() == [text]
    assert hasher().series(pl.Series("lead_id", [" 1200001 ", "  "])).to_list() == [text, None]


def test_another_key_gives_other_texts() -> None:
    assert hasher().text("L1") != hasher("j" * 64).text("L1")
    assert hasher().fingerprint != hasher("j" * 64).fingerprint


def test_values_that_stand_for_nobody_stay_recognisable() -> None:
    nothing = next(iter(DIGESTS_OF_NOTHING))
    values = pl.Series("lead_id", ["Unknown", nothing, "0", "L1"])
    found = hasher().series(values, keep={"0"}).to_list()
    assert found[:3] == ["Unknown", nothing, "0"]
    assert found[3] == hasher().text("L1")


def test_the_key_is_in_no_representation() -> None:
    assert KEY not in repr(hasher())
    assert KEY[:16] not in hasher().fingerprint


@pytest.mark.parametrize("value", ["", "short", "ä" * 15])
def test_a_missing_or_short_key_is_refused_with_the_command_that_makes_one(value: str) -> None:
    with pytest.raises(ConfigError) as error:
        hasher_of(config_with(HASHED), environment={"ELV_HASH_KEY": value})
    assert "ELV_HASH_KEY" in str(error.value)
    assert "secrets.token_hex(32)" in str(error.value)
    assert not value or value not in str(error.value).replace("secrets", "")


def test_nothing_is_hashed_unless_the_configuration_says_so() -> None:
    assert hasher_of(config_with({}), environment={"ELV_HASH_KEY": KEY}) is None
    found = hasher_of(config_with(HASHED), environment={"ELV_HASH_KEY": KEY})
    assert found is not None
    assert found.columns == ("lead_id", "ad_id")


def test_a_hasher_never_takes_a_short_key() -> None:
    with pytest.raises(ConfigError, match="at least 32"):
        IdHasher(b"x" * 31, ("lead_id",))


def test_messages_show_the_hash_of_hashed_columns_only() -> None:
    assert shown_id("L1", column="lead_id", hasher=hasher()) == hasher().text("L1")
    assert shown_id("C1", column="campaign_id", hasher=hasher()) == "C1"
    assert shown_id("L1", column="lead_id", hasher=None) == "L1"


def test_stored_data_keep_their_key(tmp_path: Path) -> None:
    memory = tmp_path / "hashing.json"
    require_same_key(memory, hasher(), name="ads", has_data=False)
    require_same_key(memory, hasher(), name="ads", has_data=True)
    assert KEY not in memory.read_text()
    with pytest.raises(ConfigError, match="under another key"):
        require_same_key(memory, hasher("j" * 64), name="ads", has_data=True)
    with pytest.raises(ConfigError, match="with ad_id, lead_id hashed"):
        require_same_key(memory, None, name="ads", has_data=True)


def test_data_of_before_count_as_stored_without_hashing(tmp_path: Path) -> None:
    memory = tmp_path / "hashing.json"
    with pytest.raises(ConfigError, match="no column hashed"):
        require_same_key(memory, hasher(), name="ads", has_data=True)
    require_same_key(memory, None, name="ads", has_data=True)
    assert memory.is_file()


def test_nothing_stored_yet_lets_the_setting_change(tmp_path: Path) -> None:
    memory = tmp_path / "hashing.json"
    require_same_key(memory, None, name="ads", has_data=False)
    unhashed = memory.read_bytes()
    require_same_key(memory, hasher(), name="ads", has_data=False)
    require_same_key(memory, hasher(), name="ads", has_data=True)
    assert memory.read_bytes() != unhashed
    with pytest.raises(ConfigError, match="with ad_id, lead_id hashed"):  # from the first data on it counts
        require_same_key(memory, None, name="ads", has_data=True)


def test_salted_digests_differ_between_salts() -> None:
    first, second = new_salt(), new_salt()
    assert keyed_digests(first, ["L1"]) != keyed_digests(second, ["L1"])
    assert keyed_digests(first, ["unknown"]) != ["unknown"]
