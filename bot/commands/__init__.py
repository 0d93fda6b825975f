"""What every command does, once: plain functions that platforms, console and command line call alike.

They take the database and return frozen dataclasses; how that looks is the caller's business.
"""
