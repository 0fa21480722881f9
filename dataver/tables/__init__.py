"""What is known of Parquet files from their footers, without reading their data."""
