"""The commands, one file per group; what they do is `bot.commands`'s, how it looks is here."""
