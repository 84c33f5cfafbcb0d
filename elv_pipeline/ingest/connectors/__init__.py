"""From the exports of advertising platforms to the columns of the canonical tables."""
