"""The schema's history: what a user has is upgraded, never dropped. Run by `feedback.database`."""
