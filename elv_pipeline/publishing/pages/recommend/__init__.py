"""The page about a set of exports."""
