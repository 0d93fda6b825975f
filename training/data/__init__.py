"""Approved turns become a frozen dataset: candidates, hygiene, near duplicates, splits, preferences."""
