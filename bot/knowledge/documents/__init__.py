"""Documents that a community gives: found, fetched, parsed in a process of their own, and cut into pieces."""
