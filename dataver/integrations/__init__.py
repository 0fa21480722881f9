"""Other tools: what they are told of versions and runs, and what is read from them. Each is an extra."""
