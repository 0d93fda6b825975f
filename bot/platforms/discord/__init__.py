"""Discord: events in, answers out. `client` listens; every other module holds one part of the thinking."""
