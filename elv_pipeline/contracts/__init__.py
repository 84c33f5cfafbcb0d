"""Contracts of every table that enters or leaves: one definition for checks, documentation and Dagster schemas."""
