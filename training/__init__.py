"""From reviewed turns to a verdict. May import `feedback`, never `bot`."""
