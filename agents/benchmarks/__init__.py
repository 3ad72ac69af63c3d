"""Benches of the training room, beside the peers'."""
