"""Tests of the tables layer, against a brute-force reference."""
