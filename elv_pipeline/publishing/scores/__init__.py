"""Scores in a database: staged, compared, written in one transaction with history and ledger, and taken back."""
