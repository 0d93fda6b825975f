"""Tests of the record; those with a database run on SQLite and PostgreSQL."""
