"""What every chat platform shares: live answers, splitting, order, cooldown, button codes."""
