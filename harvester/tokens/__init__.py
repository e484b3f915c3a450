"""Access tokens: where they come from, and how they are shared."""
