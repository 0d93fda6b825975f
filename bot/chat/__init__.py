"""What chat platforms share: live answers, feedback, review, switching, splitting, cooldown, button codes."""
