"""One parser a file: bytes or text in, blocks out. They raise `Unreadable` only, where they see why."""
