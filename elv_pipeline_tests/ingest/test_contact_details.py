"""What is an e-mail address or a phone number, and what only looks like one."""

from __future__ import annotations

import polars as pl
import pytest

from elv_pipeline.ingest.parsing.contact_details import MASK, contact_details, contact_ids, masked

PERSONAL = (
    "jane.doe@example.org",
    "JANE@EXAMPLE.ORG",
    "Jane Doe <jane+ads@mail.example.co.uk>",
    "mailto:jane@example.org",
    "jane%40example.org",
    "jane\uff20example.org",
    "jürgen@müller-bau.example",
    "иван@почта.рф",
    "jane@xn--bcher-kva.xn--p1ai",
    "12345678@163.com",
    "Spring 2025 (contact: jane@example.org)",
    "sneakers|jane@example.org|running",
    "+491701234567",
    "+49 170 1234567",
    "p:+491701234567",
    "+49 (0) 170 123 45 67",
    "+1 (415) 555-0132",
    "+1-415-555-0132",
    "+49.1701234567",
    "\uff0b49 170 1234567",
    "+\u0664\u0669 \u0661\u0667\u0660 \u0661\u0662\u0663\u0664\u0665\u0666\u0667",
    "+33 6 12 34 56 78",
    "Lead ad, Jane +49 170 1234567",
    "Spring 2025 +49 170 1234567 v2",
    "0049 170 1234567",
    "00491701234567",
    "0170 1234567",
    "0170/1234567",
    "0170-1234567",
    "0170\u20131234567",
    "030 123456",
    "(030) 123 456 78",
    "(415) 555-0132",
    "415-555-0132",
    "06 12 34 56 78",
    "06.12.34.56.78",
    "01 23 45 67 89",
    "612 34 56 78",
    "612 345 678",
    "07700 900123",
    "020 7946 0958",
    "02 9374 4000",
    "(11) 91234-5678",
    "12 43 56 38",
    "9123 4567",
    "090-1234-5678",
    "138 1234 5678",
    "Rückruf Herr X 0170 1234567",
    "Tel. 01701234567",
    "Tél : 06 12 34 56 78",
    "Call 415-555-0132 now",
    "☎ 612 345 678",
    "WhatsApp: 612 345 678",
)
HARMLESS = (
    "Spring 2025 - 3 for 2",
    "Spring 2025-03-31 to 2025-04-30",
    "Frühjahr 01.03.2025 - 31.03.2025",
    "01.03.-31.03.",
    "01.03.25-31.03.25",
    "Aktion 01.03.-31.03.2025",
    "03/2025-06/2025",
    "03/25-06/25",
    "2024-2025",
    "2024/2025",
    "2025-03-31",
    "31/03/2025",
    "03/31/2025",
    "20250331",
    "31032025",
    "20250331_20250430",
    "2025 03 31",
    "2025-03-31T14:05:00+02:00",
    "Q1 2025 | DE | Lookalike 1-3% | 18-65+ | 20250331",
    "18-24 25-34 35-44 45-54",
    "18-24-25-34-35-44",
    "Interest 12345 25-44",
    "Prospecting 123 broad",
    "Video 1080x1920 v2",
    "1080-1920",
    "1080 1920",
    "300x250, 728x90, 160x600",
    "120210000000000000",
    "6042155430862",
    "23851234567890123",
    "act_1234567890",
    "Acme (123-456-7890) | Search",
    "Search_523-456-7890_brand",
    "AW-123456789/AbC-D_efG",
    "550e8400-e29b-41d4-a716-446655440000",
    "PLZ 10115-10119",
    "PLZ 01067-01326",
    "01067 01069 01097 04103",
    "ZIP 02108-1234",
    "Ads 01 02 03 04 05",
    "08.00-18.00 Uhr",
    "Mo-Fr 08:00-18:00, Sa 09:00-14:00",
    "24/7",
    "0% APR 0-24-36-48-60 months",
    "1-2-3 Sparen",
    "1-2-3-4-5-6-7-8-9",
    "1.299,00 € statt 1.499,00 €",
    "Über +10.000.000 Kunden",
    "+10 000 000 clients",
    "12.345.678.900",
    "+52.520008",
    "+31.03.2025 verlängert",
    "Mobile 1234567890",
    "mobile_app_install 120210000001",
    "iPhone 15 Pro 128 256 512 GB",
    "GTIN 00614141999996",
    "EAN 4006381333931",
    "978-3-16-148410-0",
    "facebook_feed",
    "instagram_stories",
    "an|fb|ig|messenger",
    "Printemps \u2013 3 pour 2 \u2013 été 2025",
    "Primavera 2025: 3x2 en toda la tienda",
    "Осень 2025 — скидка 50 %",
    "秋のセール2025 50%OFF",
    "Lato 2025 | 1+1 gratis | Kraków 30-001",
    "İndirim %50 - 01.06.2025/30.06.2025",
    "عرض الربيع ٢٠٢٥",
    "banner@2x.png",
    "logo@3x.jpg",
    "@brand.official",
    "Meet us @ Hotel Adlon, 18.30 Uhr",
    "Webinar@18.30Uhr",
    "sale@home",
    "50%@15.03.",
    "a|b;c,d",
    "",
)


def test_addresses_and_numbers_are_found() -> None:
    """In many spellings and scripts, alone and amid other text."""
    missed = [text for text, found in zip(PERSONAL, contact_details(pl.Series(PERSONAL)), strict=True) if not found]
    assert missed == []


def test_names_of_ads_are_left_alone() -> None:
    """Dates, ages, sizes, postcodes, amounts and ids of platforms are no phone numbers."""
    taken = [text for text, found in zip(HARMLESS, contact_details(pl.Series(HARMLESS)), strict=True) if found]
    assert taken == []


@pytest.mark.parametrize("judge", [contact_details, contact_ids])
def test_null_is_no_address(judge: object) -> None:
    """Null stays harmless, and the answer is as long as the question."""
    texts = pl.Series([None, "jane@example.org", None, "x"], dtype=pl.String)
    assert judge(texts).to_list() == [False, True, False, False]  # type: ignore[operator]


def test_ids_keep_their_digits() -> None:
    """An id of digits and hyphens is an id; an address, or a number with a plus, is none."""
    ids = [
        "jane@example.org",
        "p:+491701234567",
        "+49 170 1234567",
        "123-456-7890",
        "0170 1234567",
        "l:120210000",
        "+1",
    ]
    assert contact_ids(pl.Series(ids)).to_list() == [True, True, True, False, False, False, False]


def test_invented_names_of_many_kinds_are_left_alone() -> None:
    """Names as agencies build them from parts: none of twenty thousand is taken for a number."""
    goals = ("Leads", "Conv", "Prospecting", "Retargeting", "LAL 1-3%", "Broad", "Wiederkäufer", "Nuevos", "Été")
    ages = ("18-24", "25-44", "18-65+", "35-54", "F 30-49", "alle")
    days = ("2025-03-31", "20250331", "31.03.2025", "01.03.-31.03.", "Q1/25", "KW 13", "03/2025", "2024-2025")
    tails = ("1080x1920", "v2", "120210000000000000", "DE-AT-CH", "3 for 2", "PLZ 10115-10119", "0,99 €", "24/7", "#17")
    glue = (" | ", "_", " - ", "-", " / ", " ")
    names = [
        sep.join(part)
        for sep in glue
        for a in goals
        for b in ages
        for c in days
        for d in tails
        for part in ((a, b, c, d),)
    ]
    assert len(names) > 20_000
    found = pl.Series(names).filter(contact_details(pl.Series(names)))
    assert found.to_list() == []


@pytest.mark.parametrize("at", ["@", "\uff20", "\ufe6b", "%40"])
def test_an_id_with_an_at_sign_of_any_width_is_an_address(at: str) -> None:
    assert contact_ids(pl.Series([f"jane{at}example.org"])).to_list() == [True]


def test_masked_texts_keep_what_stands_beside_an_address_or_number() -> None:
    texts = {
        "Hi {name}, call +49 170 1234567 or mail jane@example.org!": f"Hi {{name}}, call {MASK} or mail {MASK}",
        "Write to jane\uff20example.org today": f"Write to {MASK} today",
        "Room 12, 2025-03-31, 10 of 20": "Room 12, 2025-03-31, 10 of 20",
        "Tel. 0170 1234567 (office)": f"Tel. {MASK} (office)",
    }
    found = masked(pl.Series("template_text", [*texts, None]))
    assert found.to_list() == [*texts.values(), None]
    assert found.name == "template_text"


@pytest.mark.parametrize("text", PERSONAL)
def test_nothing_that_is_recognised_is_left_in_a_masked_text(text: str) -> None:
    found = masked(pl.Series([text, f"Hello, {text} (me)"]))
    assert not contact_details(found).any()
