"""A tree of sums over priorities: draw in proportion to them in logarithmic time. Compiled.

tree: (2 * size,) float64, size a power of two; leaf i is tree[size + i], every inner node is the sum of its two below,
tree[1] the sum of all. A leaf's sums are added up anew on its way to the top, so no rounding error builds up.
"""

import numpy as np

from core.simulation.compiled import compiled


def new_tree(n_leaves: int) -> np.ndarray:
    """A tree of zeros with room for n_leaves."""
    return np.zeros(2 << max(n_leaves - 1, 0).bit_length())


@compiled
def set_leaves(tree: np.ndarray, leaves: np.ndarray, values: np.ndarray) -> None:
    """Give leaves (B,) int64 new values (B,); where one is named twice the last counts."""
    size = len(tree) // 2
    for i in range(len(leaves)):
        node = size + leaves[i]
        tree[node] = values[i]
        while node > 1:
            node //= 2
            tree[node] = tree[2 * node] + tree[2 * node + 1]


@compiled
def find_leaves(tree: np.ndarray, uniform: np.ndarray, leaves: np.ndarray) -> None:
    """Draw one leaf from each of B equal parts of the sum, each by its share of that part.

    uniform: (B,) from 0 inclusive to 1 exclusive; leaves: (B,) int64, written.
    """
    size, n, total = len(tree) // 2, len(uniform), tree[1]
    for i in range(n):
        left = (i + uniform[i]) / n * total
        node = 1
        while node < size:
            node *= 2
            # The second test keeps rounding from leading to a leaf that was never filled.
            if left >= tree[node] and tree[node + 1] > 0.0:
                left -= tree[node]
                node += 1
        leaves[i] = node - size
