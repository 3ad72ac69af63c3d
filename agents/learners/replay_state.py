"""A replay buffer as plain arrays and back, bit for bit; only what has been filled is kept. Pure."""

import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer

from agents.learners.replay import PrioritisedReplay
from agents.learners.replay_tree import set_leaves

NAMES = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


def buffer_arrays(buffer: ReplayBuffer) -> dict[str, np.ndarray]:
    """Steps, place of the next one and, where it has them, priorities."""
    size = buffer.size()
    found = {name: getattr(buffer, name)[:size].copy() for name in NAMES}
    found["place"] = np.array([buffer.pos, int(buffer.full)], dtype=np.int64)
    if isinstance(buffer, PrioritisedReplay):
        half = len(buffer.tree) // 2
        found["priorities"] = buffer.tree[half : half + size * buffer.n_envs].copy()
        found["largest"] = np.array(buffer.largest)
    return found


def restore_buffer(buffer: ReplayBuffer, arrays: dict[str, np.ndarray]) -> None:
    """The reverse of buffer_arrays. Raises: ValueError if the steps are of another kind or too many."""
    position, full = arrays["place"].tolist()
    size = buffer.buffer_size if full else position
    for name in NAMES:
        ours, found = getattr(buffer, name), arrays[name]
        if found.shape != (size, *ours.shape[1:]) or size > len(ours):
            raise ValueError(f"replay {name} has shape {found.shape}, expected {(size, *ours.shape[1:])}; start anew")
        ours[:size] = found
    buffer.pos, buffer.full = position, bool(full)
    if isinstance(buffer, PrioritisedReplay):
        buffer.tree[:] = 0.0
        set_leaves(buffer.tree, np.arange(size * buffer.n_envs), arrays["priorities"])
        buffer.largest = float(arrays["largest"])
