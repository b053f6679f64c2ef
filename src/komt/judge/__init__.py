"""Judges: models that score models' answers; their words are kept, and never read for more than they say."""
