"""Market features: one catalogue, over whole arrays or bar by bar with the same numbers. Pure, no database."""
