"""What to change in outreach: weak elements, edits of templates, order of steps, and the tests that would show it."""
