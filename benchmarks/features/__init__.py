"""The feature benchmark: made-up advertisers of three sizes, our plan, and the same features in plain pandas."""
