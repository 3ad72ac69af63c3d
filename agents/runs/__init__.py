"""Training runs: what they learn from, how they go on, end and publish."""
