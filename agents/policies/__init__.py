"""Policies as they are served: what they see, decide and say about it. Pure."""
