"""Bringing what other tools keep into a repository: history, names and digests, where they have them."""
