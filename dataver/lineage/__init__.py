"""Runs, models, and what was made of what."""
