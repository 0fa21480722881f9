"""Documents of public standards, made of what the repository knows; no library of theirs is needed."""
