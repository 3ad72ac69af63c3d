"""Headlines, which instruments they are about, and their tone. Never on the way of a decision: a task fetches them."""
