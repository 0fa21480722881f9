"""TensorBoard: an event file of our own in a run's log folder, with what the run read and how it ended."""
