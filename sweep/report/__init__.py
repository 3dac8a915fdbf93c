"""What a sweep says, finished or not: figures, statistics and findings, from the results table alone."""
