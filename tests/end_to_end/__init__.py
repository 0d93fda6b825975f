"""Whole runs of the product, as a person starts it."""
