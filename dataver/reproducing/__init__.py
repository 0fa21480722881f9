"""What differs between two runs, and doing a run again."""
