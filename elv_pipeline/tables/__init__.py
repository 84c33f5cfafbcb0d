"""Joins, label maturity and point-in-time features: set-based plans over the lake's tables."""
