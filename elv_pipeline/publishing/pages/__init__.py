"""Documents for readers: reports, cards, pages and their figures."""
