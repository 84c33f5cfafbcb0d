from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from elv_pipeline.contracts.lead_ads import ADS_SOURCE, LEADS_SOURCE, MICROS
from elv_pipeline.errors import ConfigError, ContractError
from elv_pipeline.ingest.connectors.matching import plain
from elv_pipeline.ingest.connectors.registry import CONNECTORS
from elv_pipeline.ingest.exports import open_export
from elv_pipeline.ingest.review.findings import findings
from elv_pipeline.ingest.sources import examine
from elv_pipeline.ingest.tables import read_ads, read_leads
from elv_pipeline_tests.ingest.exports import ADS, LEADS
from elv_pipeline_tests.ingest.meta_exports import (
    ENGLISH,
    LEAD_HEADER,
    LEAD_ROWS,
    ROWS,
    ads_text,
    meta_config,
    opened,
    refusal,
    save,
    save_parquet,
    save_workbook,
    text_of,
    typed,
)

LANGUAGES = {
    "english": tuple(ENGLISH.values()),
    "english_upper_case": tuple(name.upper() for name in ENGLISH.values()),
    "german": (
        *("Tag", "Kampagnen-ID", "Kampagnenname", "Anzeigengruppen-ID", "Anzeigengruppenname", "Anzeigen-ID"),
        *("Anzeigenname", "Impressionen", "Link-Klicks", "Ausgegebener Betrag (EUR)"),
    ),
    "spanish": (
        *("Día", "Identificador de la campaña", "Nombre de la campaña", "Identificador del conjunto de anuncios"),
        *("Nombre del conjunto de anuncios", "Identificador del anuncio", "Nombre del anuncio", "Impresiones"),
        *("Clics en el enlace", "Importe gastado (EUR)"),
    ),
    "french": (
        *("Jour", "ID de la campagne", "Nom de la campagne", "ID de l\u2019ensemble de publicités"),
        *("Nom de l'ensemble de publicités", "ID de la publicité", "Nom de la publicité", "Impressions"),
        *("Clics sur un lien", "Montant dépensé\u00a0(EUR)"),
    ),
    "portuguese": (
        *("Dia", "Identificação da campanha", "Nome da campanha", "Identificação do conjunto de anúncios"),
        *("Nome do conjunto de anúncios", "Identificação do anúncio", "Nome do anúncio", "Impressões"),
        *("Cliques no link", "Valor usado (EUR)"),
    ),
    "italian": (
        *("Giorno", "ID campagna", "Nome della campagna", "ID gruppo di inserzioni", "Nome del gruppo di inserzioni"),
        *("ID inserzione", "Nome dell'inserzione", "Impression", "Clic sul link", "Importo speso (EUR)"),
    ),
    "dutch": (
        *("Dag", "Campagne-ID", "Campagnenaam", "Advertentieset-ID", "Naam advertentieset", "Advertentie-ID"),
        *("Advertentienaam", "Vertoningen", "Klikken op links", "Besteed bedrag (EUR)"),
    ),
}
Writer = Callable[[Path], Path]
ADS_FILES: dict[str, Writer] = {
    **{
        name: lambda folder, name=name: save(folder, name, ads_text())  # type: ignore[misc]
        for name in (
            "ads.csv",
            "ads.bom.csv",
            "ads.utf16.csv",
            "ads.csv.gz",
            "ads.csv.bz2",
            "ads.csv.zst",
            "ads.csv.xz",
        )
    },
    "ads.tsv": lambda folder: save(folder, "ads.tsv", text_of(list(ENGLISH.values()), ROWS, separator="\t")),
    "semicolons.csv": lambda folder: save(
        folder, "semicolons.csv", text_of(list(ENGLISH.values()), ROWS, separator=";")
    ),
    "ads.xlsx": lambda folder: save_workbook(folder / "ads.xlsx", Report=[list(ENGLISH.values()), *typed(ROWS)]),
    "text.xlsx": lambda folder: save_workbook(folder / "text.xlsx", Report=[list(ENGLISH.values()), *map(list, ROWS)]),
    "ads.parquet": lambda folder: save_parquet(folder / "ads.parquet", ENGLISH.values(), typed(ROWS)),
}
LEAD_FILES: dict[str, Writer] = {
    "leads.utf16.tsv": lambda folder: save(folder, "leads.utf16.tsv", text_of(LEAD_HEADER, LEAD_ROWS, separator="\t")),
    "leads.utf16.csv": lambda folder: save(folder, "leads.utf16.csv", text_of(LEAD_HEADER, LEAD_ROWS, separator="\t")),
    "leads.csv": lambda folder: save(folder, "leads.csv", text_of(LEAD_HEADER, LEAD_ROWS)),
    "leads.csv.gz": lambda folder: save(folder, "leads.csv.gz", text_of(LEAD_HEADER, LEAD_ROWS)),
    "leads.xlsx": lambda folder: save_workbook(folder / "leads.xlsx", Leads=[list(LEAD_HEADER), *map(list, LEAD_ROWS)]),
    "leads.parquet": lambda folder: save_parquet(folder / "leads.parquet", LEAD_HEADER, LEAD_ROWS),
}


def expected_ads() -> list[tuple[object, ...]]:
    return [
        (date(2025, 3, 1), "23850003", 1204, 35, 11_520_000),
        (date(2025, 3, 1), "23850004", 310, 4, 100_000),
        (date(2025, 3, 2), "23850003", 1300, 0, 12 * MICROS),
    ]


@pytest.mark.parametrize("shape", ADS_FILES)
def test_ads_of_every_format_become_the_same_canonical_table(tmp_path: Path, shape: str) -> None:
    found = read_ads(ADS_FILES[shape](tmp_path), meta_config(tmp_path))
    columns = ("day", "ad_id", "impressions", "clicks", "spend_micros")
    assert found.frame.select(columns).rows() == expected_ads()
    assert found.frame["ad_name"].to_list() == ["Video A", "Image, B", "Video A"]
    assert found.source_rows.to_list() == [2, 4, 3]


@pytest.mark.parametrize("language", LANGUAGES)
def test_ads_headers_in_every_language(tmp_path: Path, language: str) -> None:
    path = save(tmp_path, "ads.csv", text_of(LANGUAGES[language], ROWS))
    found = open_export(path, config=meta_config(tmp_path), source=ADS_SOURCE)
    assert (found.connector, found.currency) == ("meta_ads_manager", "EUR")
    assert found.columns == tuple(name for name in ADS_SOURCE.names if name in ENGLISH)
    assert found.dropped_columns == ()
    assert read_ads(path, meta_config(tmp_path)).frame["spend_micros"].sum() == 23_620_000


@pytest.mark.parametrize("shape", LEAD_FILES)
def test_leads_of_every_format_become_the_same_canonical_table(tmp_path: Path, shape: str) -> None:
    path = LEAD_FILES[shape](tmp_path)
    found = read_leads(path, meta_config(tmp_path))
    assert found.frame.select("lead_id", "created_time", "ad_id", "adset_id", "campaign_id", "platform").rows() == [
        ("501", datetime(2025, 3, 2, 7, 12, 33, tzinfo=UTC), "23850003", "23850002", "23850001", "fb"),
        ("502", datetime(2025, 3, 3, 6, 30, tzinfo=UTC), "23850003", "23850002", "23850001", "ig"),
        ("503", datetime(2025, 3, 3, 8, 0, tzinfo=UTC), None, None, None, "fb"),
    ]
    assert found.source_rows.to_list() == [2, 3, 4]
    source = open_export(path, config=meta_config(tmp_path), source=LEADS_SOURCE)
    assert source.connector == "meta_lead_form"
    assert source.notes == found.profile.notes == {"test_leads": 1, "organic_leads": 1}


def test_what_a_connector_left_out_is_reported_in_words(tmp_path: Path) -> None:
    totals = ["", "", "", "", "", "", "", "2814", "39", "23.62"]
    save(tmp_path, "ads.csv", text_of(LANGUAGES["english"], [totals, *ROWS]))
    save(tmp_path, "leads.csv", text_of(LEAD_HEADER, LEAD_ROWS))
    save(tmp_path, "outcomes.csv", "lead_id,qualified_time\n501,2025-03-04\n")
    names = ("ads", "leads", "outcomes")
    config = meta_config(tmp_path, paths={f"{name}_path": str(tmp_path / f"{name}.csv") for name in names})
    said = {finding.code: finding.message for finding in findings(examine(config).required(), config)}
    assert said["totals_row"] == "ads.csv: rows of totals left out, which no ad delivered: 1."
    assert said["test_leads"] == "leads.csv: test leads of the form tool left out: 1."
    assert said["organic_leads"] == "leads.csv: organic leads, which no ad brought: 1."


def test_answers_and_personal_columns_are_never_loaded(tmp_path: Path) -> None:
    header = [*LEAD_HEADER, "+49 170 1234567"]
    path = save(tmp_path, "leads.csv", text_of(header, [[*row, "eve@example.com"] for row in LEAD_ROWS]))
    found = open_export(path, config=meta_config(tmp_path), source=LEADS_SOURCE)
    assert set(found.frame.columns) <= {"source_row", *LEADS_SOURCE.names}
    assert found.dropped_columns == (
        *("form_id", "form_name", "what_is_your_budget?", "full_name", "email", "phone_number", "lead_status"),
        "(withheld: not a name)",
    )
    assert "eve" not in repr(found)


def test_a_file_of_test_leads_only_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, "leads.csv", text_of(LEAD_HEADER, LEAD_ROWS[3:]))
    with pytest.raises(ContractError, match=r"leads\.csv: no rows remain \(test_leads: 1\)"):
        read_leads(path, meta_config(tmp_path))


def test_moved_columns_of_a_lead_form_are_noticed_without_showing_the_value(tmp_path: Path) -> None:
    row = list(LEAD_ROWS[0])
    row[2] = "p:+491701234567"
    path = save(tmp_path, "leads.csv", text_of(LEAD_HEADER, [row]))
    with pytest.raises(ContractError) as caught:
        read_leads(path, meta_config(tmp_path))
    assert "leads.csv row 2: ad_id begins with 'p:'; it must begin with 'ag:'" in str(caught.value)
    assert "170" not in str(caught.value)


def test_decimal_commas_only_where_the_configuration_says_so(tmp_path: Path) -> None:
    text = ads_text().replace("11.52", '"1.234,50"').replace(",1204,", ",1.204,").replace("0.1", '"0,1"')
    comma = {"contracts": {"ads": {"decimal_comma": True}}}
    found = opened(tmp_path, text, **comma)
    assert found.frame["spend"].to_list() == ["1234.50", "12", "0.1"]
    assert found.frame["impressions"].to_list() == ["1204", "1300", "310"]
    message = refusal(tmp_path, text)
    assert "ads.csv row 2: spend is '1.234,50' (and 1 more row)" in message
    assert "set contracts.ads.decimal_comma: true" in message
    wrong = refusal(tmp_path, ads_text(), **comma)
    assert "ads.csv row 2: spend is 11.52" in wrong
    assert "Set contracts.ads.decimal_comma: false" in wrong


@pytest.mark.parametrize("shape", ["ads.xlsx", "ads.parquet"])
def test_typed_numbers_do_not_depend_on_the_decimal_mark(tmp_path: Path, shape: str) -> None:
    config = meta_config(tmp_path, contracts={"ads": {"decimal_comma": True}})
    found = read_ads(ADS_FILES[shape](tmp_path), config)
    assert found.frame["spend_micros"].to_list() == [spend for *_, spend in expected_ads()]


def test_documented_columns_are_recognised_before_anything_else(tmp_path: Path) -> None:
    ads = open_export(save(tmp_path, "ads.csv", ADS), config=meta_config(tmp_path), source=ADS_SOURCE)
    leads = open_export(save(tmp_path, "leads.csv", LEADS), config=meta_config(tmp_path), source=LEADS_SOURCE)
    assert (ads.connector, leads.connector) == ("canonical", "canonical")


def test_an_unknown_header_lists_what_each_connector_misses_the_closest_first(tmp_path: Path) -> None:
    near = refusal(tmp_path, ADS.replace("campaign_id", "campaign id").replace("spend", "spent"))
    assert near.startswith("ads.csv: required column 'campaign_id', 'spend' is missing; found: 'date', 'campaign id',")
    assert "Did you mean 'campaign_id' by 'campaign id' and 'spend' by 'spent'?" in near
    assert "meta_ads_manager lacks 'Ad set ID', 'Ad ID', 'Link clicks', 'Amount spent'" in near
    far = refusal(tmp_path, ads_text(drop=("ad_id",)))
    assert far.startswith("ads.csv: as a Meta Ads Manager export, required column 'Ad ID' is missing")
    assert "canonical lacks 'date', 'campaign_id'" in far


def test_a_missing_header_row_leaks_no_value(tmp_path: Path) -> None:
    path = save(tmp_path, "leads.csv", "L1,2025-01-01,eve@example.com,+49 170 1234567\n")
    with pytest.raises(ContractError) as caught:
        read_leads(path, meta_config(tmp_path))
    assert "4 cells that look like values, so the header row seems to be missing" in str(caught.value)
    assert "eve" not in str(caught.value)
    assert "170" not in str(caught.value)


def test_a_named_connector_is_the_only_one_tried(tmp_path: Path) -> None:
    message = refusal(tmp_path, ADS, source=ADS_SOURCE, contracts={"ads": {"source": "meta_ads_manager"}})
    assert (
        "as a Meta Ads Manager export, required column 'Campaign ID', 'Ad set ID', 'Ad ID', 'Link clicks', 'Amount"
        in message
    )
    assert "No other known export" not in message


def test_a_source_for_everything_holds_for_the_tables_it_knows(tmp_path: Path) -> None:
    config = meta_config(tmp_path, source="meta_ads_manager")
    leads = open_export(save(tmp_path, "leads.csv", LEADS), config=config, source=LEADS_SOURCE)
    assert leads.connector == "canonical"
    own = meta_config(tmp_path, contracts={"leads": {"source": "meta_ads_manager"}})
    with pytest.raises(
        ConfigError, match=r"contracts\.leads\.source is 'meta_ads_manager', which does not export leads"
    ):
        open_export(tmp_path / "leads.csv", config=own, source=LEADS_SOURCE)


def test_no_spelling_means_two_columns_of_a_table() -> None:
    for spec in CONNECTORS:
        for table, names in spec.tables.items():
            owners: dict[str, str] = {}
            for column, spellings in names.spellings.items():
                for spelling in map(plain, spellings):
                    assert owners.setdefault(spelling, column) == column, (spec.name, table, spelling)


def test_rows_keep_the_order_of_the_file_whatever_the_format(tmp_path: Path) -> None:
    frames = [
        open_export(write(tmp_path), config=meta_config(tmp_path), source=ADS_SOURCE).frame.select("date", "ad_id")
        for write in ADS_FILES.values()
    ]
    assert all(frame.equals(frames[0]) for frame in frames)
    assert isinstance(frames[0], pl.DataFrame)


def test_a_very_long_answer_does_not_hide_test_leads(tmp_path: Path) -> None:
    rows = [list(row) for row in LEAD_ROWS]
    rows[0][12] = "x" * 200_000
    found = read_leads(save(tmp_path, "leads.csv", text_of(LEAD_HEADER, rows)), meta_config(tmp_path))
    assert found.frame["lead_id"].to_list() == ["501", "502", "503"]
