"""Declaration of what the text of a step is like.

Belongs here: the frozen declaration and the definition of each column. Does not belong here: how a text is read
(``ingest/text_content.py``) or joined with moments (``tables/moment_features.py``).
"""

from __future__ import annotations

from dataclasses import dataclass

from elv_pipeline.problems.feature_specs import FeatureColumn

_SOURCES = (
    ("moments", "step_id"),
    *(("campaign_steps", name) for name in ("template_text", "valid_from", "recorded_time")),
)


@dataclass(frozen=True, kw_only=True)
class StepContent:
    """What the text of the moment's step was like, as known at the moment; null at enrollment and without a text.

    The text holds placeholders and no personal data; only counts, sentiment and hash buckets of a closed vocabulary
    are made of it.
    """

    token_buckets: int = 0

    def columns(self) -> list[FeatureColumn]:
        """Four properties, then the buckets."""
        properties = (
            ("characters", "Characters of the step's text"),
            ("words", "Words of the step's text"),
            ("questions", "Question marks of the step's text"),
            ("sentiment", "Sentiment of the step's text, from -1 to 1"),
        )
        return [
            *(self._column(f"step_{name}", text) for name, text in properties),
            *(
                self._column(
                    f"step_token_{bucket:02d}", f"1 where a word of the step's text falls into hash bucket {bucket}"
                )
                for bucket in range(self.token_buckets)
            ),
        ]

    @staticmethod
    def _column(name: str, definition: str) -> FeatureColumn:
        return FeatureColumn(name=name, kind="numeric", definition=definition, sources=_SOURCES, lag_days=0)
