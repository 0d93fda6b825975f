"""Documents and approved answers, found again for a question."""
