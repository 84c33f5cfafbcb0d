"""Candidates and versions of models, with their evidence and the champion alias."""
