"""Tests of the declarations of what is scored."""
