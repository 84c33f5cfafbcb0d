"""What looks like a secret is never shown, and what does not stays readable."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from elv_pipeline.errors import ConfigError
from elv_pipeline.scrubbing import HIDDEN, holds_secret, refuse_secret, scrubbed

SECRET = "hunter2-SECRET"


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://ada:{SECRET}@db:5432/crm refused",
        f"mssql+pyodbc://sa:{SECRET}/x@db/crm?driver=ODBC",
        f"postgresql://ada:{SECRET}@p@db/crm",
        f"POSTGRESQL://:{SECRET}@db/crm",
        f"Driver={{ODBC Driver 18}};Server=db;UID=sa;PWD={SECRET};Encrypt=yes",
        f"PWD={{{SECRET};x}};Server=db",
        f"password={SECRET} host=db",
        f'{{"password": "{SECRET}"}}',
        f"{{'client_secret': '{SECRET}'}}",
        f"https://store.example/leads.csv?sv=1&sig={SECRET}&se=2",
        f"https://hooks.slack.com/services/T0/B0/{SECRET}",
        f"https://discord.example/api/webhooks/1/{SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"s3://key:{SECRET}@bucket/ads/",
        f"smtp://mailer:{SECRET}@mail.example:587",
        f"access_token={SECRET}",
    ],
)
def test_secrets_are_blackened(text: str) -> None:
    told = scrubbed(text)
    assert SECRET not in told
    assert HIDDEN in told
    assert holds_secret(text)
    assert scrubbed(told) == told


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://db:5432/crm as elv_reader",
        "sqlite:////var/lib/elv/scores.db",
        "s3://bucket/ads/ads_2025-03-31.csv",
        "row 3: lead_id 'L1'; lead_id must be unique",
        "2026-11-21T06:00:00+00:00: 12 tokens, signature of the model unchanged",
        "https://docs.example/webhooks",
        "ads.csv row 812: spend is -3.20; set contracts.ads.on_negative_spend: drop",
    ],
)
def test_plain_words_stay(text: str) -> None:
    assert scrubbed(text) == text
    assert not holds_secret(text)


def test_known_values_are_blackened_wherever_they_stand() -> None:
    assert scrubbed("the key is correct-horse, twice: correct-horse", values=["correct-horse"]).count(HIDDEN) == 2
    assert scrubbed("a short one: abc", values=["abc", ""]) == "a short one: abc"


def test_what_sqlalchemy_says_about_a_bad_address_is_safe_after_scrubbing() -> None:
    for address in (f"postgresql+nodriver://ada:{SECRET}@db/crm", f"nodatabase://ada:{SECRET}@db/crm"):
        with pytest.raises(SQLAlchemyError) as error:
            create_engine(make_url(address))
        assert SECRET not in scrubbed(str(error.value))
    with pytest.raises(SQLAlchemyError) as error:
        make_url(f"ada:{SECRET} no address")
    assert SECRET not in scrubbed(str(error.value), values=[SECRET])


def test_a_value_with_a_secret_is_refused_without_repeating_it() -> None:
    with pytest.raises(ConfigError) as error:
        refuse_secret(f"https://a:{SECRET}@host/leads.csv", place="config.yaml: paths.leads_path", remedy="Set FOO.")
    assert SECRET not in str(error.value)
    assert "paths.leads_path" in str(error.value)
    refuse_secret("s3://bucket/leads.csv", place="x", remedy="y")
