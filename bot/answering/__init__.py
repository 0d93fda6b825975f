"""How a prompt becomes an answer: the protocol and its implementations."""
