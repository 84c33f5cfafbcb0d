"""Free text that people typed, made comparable: names of campaigns, ad sets and ads, and keywords.

Belongs here: what counts as the same text. Does not belong here: what is done with equal texts (``tables/``).
"""

from __future__ import annotations

import unicodedata

import polars as pl


def normalised_text(text: str) -> str:
    """Unicode compatibility form (NFKC), case folded, inner blanks collapsed to one, none around; may be empty.

    Normalised twice, because folding case can undo the composed form (Unicode Standard, section 3.13).
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def normalised_name(name: pl.Expr) -> pl.Expr:
    """``normalised_text`` of a String column; null where nothing is left, such as for blanks.

    Each distinct name is normalised once: exports repeat a name on every day.
    """
    return name.map_batches(_normalised, return_dtype=pl.String)


def _normalised(names: pl.Series) -> pl.Series:
    if names.null_count() == names.len():
        return pl.Series(names.name, [None] * names.len(), dtype=pl.String)
    distinct = names.cast(pl.String).drop_nulls().unique()
    clean = pl.Series([normalised_text(name) or None for name in distinct.to_list()], dtype=pl.String)
    return names.cast(pl.String).replace_strict(distinct, clean, default=None, return_dtype=pl.String)
