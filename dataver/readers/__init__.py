"""Versions as other libraries want them: data frames, views, and files on this machine's disk."""
