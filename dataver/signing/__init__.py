"""Signatures over versions and runs: keys, the SSH agent, whom to trust, and what holds.

Nothing here writes to a repository, and `cryptography` is imported only where a signature is made or checked.
"""
