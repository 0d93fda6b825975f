"""Communities whose true opinion of each adapter is known, and what the rules of the rollout make of them."""
