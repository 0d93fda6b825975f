"""The service people talk to. May import `training` and `feedback`."""
