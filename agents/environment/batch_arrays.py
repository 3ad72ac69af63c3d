"""The arrays of a batch of environments, one-dimensional with an offset per copy.

Threads share them without counting references. A copy reads and writes only its own parts: how the copies are divided
among threads cannot change a number.
"""

from typing import NamedTuple

import numpy as np

# Where a copy stands: places in `places` from copy * N_PLACE on.
ROW = 0  # the last closed bar
END = 1  # the bar the episode ends with
MARKET = 2  # which market it plays on
WINDOW = 3  # chronological windows so far
N_PLACE = 4

# What a step brought a copy to, in `endings`.
GOES_ON, TERMINATED, TRUNCATED = 0, 1, 2
LIMIT = 5.0
PART = 32  # copies a thread takes at once: some microseconds of work


class World(NamedTuple):
    """What is the same for all copies and never changes. Arrays are flat."""

    bars: np.ndarray  # float64, all markets one after the other, (rows, I, N_BAR)
    features: np.ndarray  # float32, likewise, (rows, n_features)
    offsets: np.ndarray  # int64, first row of each market
    rules: np.ndarray  # float64, (I, N_RULES) as configured
    weights: np.ndarray  # float64, RewardSettings.as_array()
    own_columns: np.ndarray  # int64, OwnSpec.columns
    own: np.ndarray  # float64, OwnSpec.as_array()
    kind: int  # kernel.CHOICE, STEPS or CONTINUOUS
    n_instruments: int
    n_features: int
    n_own: int
    window: int
    remembers: bool  # whether own_history is kept
    start_cash: float
    first: int
    last: int
    length: int  # steps of a window, 0 for one pass
    episodes: int  # of episodes.KINDS
    costs: float  # of RandomiseSettings


class Copies(NamedTuple):
    """What belongs to the copies. Arrays are flat; n copies, I instruments."""

    accounts: np.ndarray  # float64, (n, N_ACCOUNT)
    positions: np.ndarray  # float64, (n, I, N_POSITION)
    memories: np.ndarray  # float64, (n, I, N_MEMORY), empty where nothing is remembered
    places: np.ndarray  # int64, (n, N_PLACE)
    random: np.ndarray  # uint64, (n,)
    rules: np.ndarray  # float64, (n, I, N_RULES), or (I, N_RULES) where all share them
    returns: np.ndarray  # float64, (n,) rewards of the running episode so far
    lengths: np.ndarray  # int64, (n,) its steps so far
    observations: np.ndarray  # float32, (n, n_inputs)


class Results(NamedTuple):
    """What a step writes besides: nothing of it is needed for the next one. Arrays are flat."""

    targets: np.ndarray  # float64, (n, I) quantities aimed at
    out: np.ndarray  # float64, (n, N_OUT)
    fills: np.ndarray  # float64, (n, I, 2, N_FILL)
    rewards: np.ndarray  # float64, (n,)
    components: np.ndarray  # float64, (n, N_COMPONENTS)
    endings: np.ndarray  # int8, (n,)
    final_observations: np.ndarray  # float32, (n, n_inputs), of copies whose episode ended
    final_returns: np.ndarray  # float64, (n,)
    final_lengths: np.ndarray  # int64, (n,)
    scratch: np.ndarray  # float64, (n / PART, N_ALL), one for each part, which one thread has at a time
