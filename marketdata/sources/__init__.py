"""Where bars and ticks come from: one module per source behind one interface (base.py)."""
