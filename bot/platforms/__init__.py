"""Where people talk to the bot; each platform translates events in and answers out, blind to the others."""
