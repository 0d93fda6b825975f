"""Discord: events in, answers out. `client` listens; the other modules translate for `bot.chat`."""
