"""Files of pairs, in and out: JSON lines, a JSON array, CSV, TSV and Parquet, ours and those of others."""
