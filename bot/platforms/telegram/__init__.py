"""Telegram: updates in, answers out. `application` listens, every other module does one part."""
