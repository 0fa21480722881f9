"""The one commit point: a hash-chained, numbered log, and the state that it adds up to."""
