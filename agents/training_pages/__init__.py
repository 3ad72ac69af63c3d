"""The pages Training and Study."""
