"""Who somebody is, what they are in a community, and the one table of what that lets them do."""
