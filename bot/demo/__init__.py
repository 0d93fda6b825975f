"""The seeded demo community and the check that the whole loop closes."""
