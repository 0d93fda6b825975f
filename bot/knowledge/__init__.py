"""What the bot may look up: approved answers and documents, indexed, found, and given with their source."""
