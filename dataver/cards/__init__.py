"""Dataset cards: what people wrote of a dataset, beside what is known of a version of it."""
