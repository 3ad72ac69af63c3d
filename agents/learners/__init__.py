"""How learning is carried out: rollouts, updates, guards and checkpoints. Pure."""
