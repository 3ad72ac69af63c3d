"""The algorithms the desk can train with. A new one is one module in this package that calls `register`.

The registry is light: an algorithm's module is read for its description, torch only when it makes a learner.
"""

from agents.algorithms.registry import Algorithm, all_algorithms, get, label, names, register

__all__ = ["Algorithm", "all_algorithms", "get", "label", "names", "register"]
