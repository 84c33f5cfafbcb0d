"""What is scored: one declarative module a problem. No computation lives here."""
