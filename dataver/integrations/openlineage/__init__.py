"""OpenLineage, through its own client: events of runs and commits, sent while they happen."""
