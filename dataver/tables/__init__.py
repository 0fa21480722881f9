"""What is known of Parquet files: from their footers alone, and what their columns hold."""
