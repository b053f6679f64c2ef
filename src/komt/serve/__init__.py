"""Models in use: engines, the terminal chat."""
