"""Erasing a lead, and the search that proves it."""
