"""Many copies of the trading environment, stepped in one compiled call by a few threads."""

import os
from collections.abc import Sequence

import numpy as np

from agents.environment import actions as kinds
from agents.environment import episodes
from agents.environment.batch_arrays import GOES_ON, N_PLACE, PART, TERMINATED, TRUNCATED, Copies, Results, World
from agents.environment.batch_step import begin_part, first_refused, mask_part, step_part
from agents.environment.batch_threads import help_along, step_together
from agents.environment.crew import Crew
from agents.environment.env_config import EnvConfig
from agents.environment.market import Market
from agents.environment.own_history import N_MEMORY
from agents.environment.own_state import N_ALL
from agents.environment.random_state import new_states
from agents.environment.rewards import COMPONENT_NAMES, N_COMPONENTS
from core.simulation import kernel

__all__ = ["COMPONENT_NAMES", "BatchEnv"]

COPIES_PER_THREAD = 256  # with fewer, sharing takes longer than it saves
# What the next step depends on; the results of the last one are written anew each time.
STATE = ("accounts", "positions", "memories", "places", "random", "rules", "returns", "lengths", "observations")


class BatchEnv:
    """n copies of an account on one or more markets.

    A copy whose episode ends starts a new one in the same step. Arrays are reused: copy what you keep.
    observations (n, n_inputs) float32; rewards (n,) float64; terminated, truncated (n,) bool; components
    (n, N_COMPONENTS) of the last step; final_observations (n, n_inputs), final_returns and final_lengths (n,) hold
    for copies whose episode ended in it; out (n, N_OUT) and fills (n, I, 2, N_FILL) are the kernel's; accounts
    (n, N_ACCOUNT), positions (n, I, N_POSITION), memories (n, I, N_MEMORY) and rows (n,) are where each copy stands.
    """

    def __init__(
        self,
        markets: Market | Sequence[Market],
        config: EnvConfig,
        n_copies: int,
        seed: int = 0,
        *,
        n_threads: int | None = None,
        autoreset: bool = True,
    ) -> None:
        """markets: the first is the real one, each episode plays on any; n_threads: None for as many as help.

        Raises: ValueError for markets or settings that do not fit together.
        """
        self.markets = (markets,) if isinstance(markets, Market) else tuple(markets)
        if not self.markets or n_copies < 1:
            raise ValueError(f"got {len(self.markets)} markets and {n_copies} copies, expected at least one of each")
        self.config, self.n_copies, self.autoreset = config, n_copies, autoreset
        market = self.markets[0]
        self.n_instruments, self.n_features = market.n_instruments, market.n_features
        self.n_inputs = config.n_inputs(self.n_features, self.n_instruments)
        self.first, self.last = config.rows(len(market))
        for other in self.markets:
            if (other.n_instruments, other.n_features) != (self.n_instruments, self.n_features):
                raise ValueError("all markets must have the same numbers of features and instruments")
            if len(other) <= self.last:
                raise ValueError(f"a market has {len(other)} bars, expected at least {self.last + 1} as the first has")
        self._world = self._new_world()
        self._copies, self._results = self._new_copies(seed), self._new_results()
        self._actions = np.zeros((n_copies, self.n_instruments))
        self._flat_actions = self._actions.reshape(-1)
        self.n_actions = kinds.n_choices(config.action)
        self._masks = np.ones((n_copies, self.n_instruments * self.n_actions), dtype=bool)
        self._crew = self._new_crew(n_threads)
        self._name_views()

    def _new_world(self) -> World:
        config, one = self.config, len(self.markets) == 1
        lengths = [len(market) for market in self.markets]
        bars, inputs = self.markets[0].bars, self.markets[0].inputs
        if not one:
            bars = np.concatenate([market.bars for market in self.markets])
            inputs = np.concatenate([market.inputs for market in self.markets])
        return World(
            bars=bars.reshape(-1),
            features=inputs.reshape(-1),
            offsets=np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64),
            rules=config.rules_array(self.n_instruments).reshape(-1),
            weights=config.reward.as_array(),
            own_columns=np.array(config.own.columns),
            own=config.own.as_array().reshape(-1),
            kind=kinds.KINDS[config.action],
            n_instruments=self.n_instruments,
            n_features=self.n_features,
            n_own=len(config.own),
            window=config.window,
            remembers=config.own.needs_history,
            start_cash=float(config.start_cash),
            first=self.first,
            last=self.last,
            length=config.episode_length or 0,
            episodes=episodes.KINDS[config.episodes],
            costs=float(config.randomise.costs),
        )

    def _new_copies(self, seed: int) -> Copies:
        n, i_all = self.n_copies, self.n_instruments
        places = np.zeros((n, N_PLACE), dtype=np.int64)
        places[:, -1] = np.arange(n)  # chronological windows: every copy begins with another one
        rules = self._world.rules
        return Copies(
            accounts=np.zeros(n * kernel.N_ACCOUNT),
            positions=np.zeros(n * i_all * kernel.N_POSITION),
            memories=np.zeros(n * i_all * N_MEMORY if self._world.remembers else 0),
            places=places.reshape(-1),
            random=new_states(seed, n),
            rules=np.tile(rules, n) if self._world.costs > 0 else rules.copy(),
            returns=np.zeros(n),
            lengths=np.zeros(n, dtype=np.int64),
            observations=np.zeros(n * self.n_inputs, dtype=np.float32),
        )

    def _new_results(self) -> Results:
        n, i_all = self.n_copies, self.n_instruments
        return Results(
            targets=np.zeros(n * i_all),
            out=np.zeros(n * kernel.N_OUT),
            fills=np.zeros(n * i_all * 2 * kernel.N_FILL),
            rewards=np.zeros(n),
            components=np.zeros(n * N_COMPONENTS),
            endings=np.zeros(n, dtype=np.int8),
            final_observations=np.zeros(n * self.n_inputs, dtype=np.float32),
            final_returns=np.zeros(n),
            final_lengths=np.zeros(n, dtype=np.int64),
            scratch=np.zeros(-(-n // PART) * N_ALL),
        )

    def _name_views(self) -> None:
        """The arrays in the shapes in which others read them."""
        n, i_all, copies, results = self.n_copies, self.n_instruments, self._copies, self._results
        self.observations = copies.observations.reshape(n, -1)
        self.accounts = copies.accounts.reshape(n, -1)
        self.positions = copies.positions.reshape(n, i_all, -1)
        self.memories = copies.memories.reshape(n, i_all, -1)
        self.rows = copies.places.reshape(n, -1)[:, 0]
        self.ends = copies.places.reshape(n, -1)[:, 1]
        self.rules = copies.rules.reshape(-1, i_all, kernel.N_RULES)
        self.rewards, self.components = results.rewards, results.components.reshape(n, -1)
        self.out = results.out.reshape(n, -1)
        self.fills = results.fills.reshape(n, i_all, 2, -1)
        self.final_observations = results.final_observations.reshape(n, -1)
        self.final_returns, self.final_lengths = results.final_returns, results.final_lengths
        self.terminated, self.truncated = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
        self.n_ended = 0  # episodes that ended in the last step
        self._begun = False

    def reset(self, seed: int | None = None) -> np.ndarray:
        """Start a new episode of every copy; with a seed, those of a new BatchEnv of that seed.

        Returns: observations (n, n_inputs) float32.
        """
        if seed is not None:
            self.reseed(seed)
        begin_part(self._world, self._copies, self._results, 0, self.n_copies)
        self.terminated[:], self.truncated[:], self.n_ended, self._begun = False, False, 0, True
        return self.observations

    def reseed(self, seed: int, *, keep_windows: bool = False) -> None:
        """Draw from a seed from the next episodes on; keep_windows: chronological ones go on where they are."""
        self._copies.random[:] = new_states(seed, self.n_copies)
        if not keep_windows:
            self._copies.places.reshape(self.n_copies, -1)[:, -1] = np.arange(self.n_copies)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Carry out one decision of every copy through its next bar.

        actions: (n,) or (n, I): whole numbers, or target positions, clipped to -1 to 1.
        Returns: observations, rewards, terminated, truncated. Raises: ValueError for another shape, NaN or no choice,
        before anything has changed; and for a step after the end where copies do not start again by themselves.
        """
        if self.n_ended and not self.autoreset:
            raise ValueError("the episode has ended: call reset() first")
        if not self._begun:
            raise ValueError("no episode has begun: call reset() first")
        found = np.asarray(actions)
        if found.size != self._actions.size or found.shape[0] != self.n_copies:
            raise ValueError(f"actions have shape {found.shape}, expected ({self.n_copies}, {self.n_instruments})")
        self._actions[:] = found.reshape(self._actions.shape)
        if (bad := first_refused(self._flat_actions, self.n_actions)) >= 0:
            kinds.refuse(self.config.action, self._flat_actions[bad])
        if not self.n_actions:
            np.clip(self._actions, -1.0, 1.0, out=self._actions)
        had_ended, self.n_ended = self.n_ended, self._step()
        if self.n_ended or had_ended:
            np.equal(self._results.endings, TERMINATED, out=self.terminated)
            np.equal(self._results.endings, TRUNCATED, out=self.truncated)
        return self.observations, self.rewards, self.terminated, self.truncated

    def _step(self) -> int:
        world, copies, results, actions = self._world, self._copies, self._results, self._flat_actions
        if self._crew is None:
            return step_part(world, copies, results, actions, 0, self.n_copies, self.autoreset)
        self._crew.wake()
        return step_together(world, copies, results, actions, self.autoreset, self._crew.board)

    def _new_crew(self, n_threads: int | None) -> Crew | None:
        """Helpers, as far as there are copies for them."""
        wanted = len(os.sched_getaffinity(0)) if n_threads is None else n_threads
        n = min(wanted, self.n_copies // COPIES_PER_THREAD)
        world, copies, results = self._world, self._copies, self._results
        actions, again = self._flat_actions, self.autoreset
        if n <= 1:
            return None
        return Crew(
            n,
            lambda board, thread, patience: help_along(world, copies, results, actions, again, board, thread, patience),
        )

    def masks(self) -> np.ndarray:
        """Which actions make sense now, (n, I * n_actions) bool, instruments side by side; holding always does.

        Raises: ValueError where actions are no choices.
        """
        if not self.n_actions:
            raise ValueError(f"actions {self.config.action!r} are continuous: there is nothing to mask")
        mask_part(self._world, self._copies, self._masks.reshape(-1), self.n_actions, 0, self.n_copies)
        return self._masks

    def snapshot(self) -> dict[str, np.ndarray]:
        """Copies of all arrays the next step depends on, by name."""
        found = {name: getattr(self._copies, name).copy() for name in STATE}
        return found | {"endings": self._results.endings.copy()}

    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        """Go on from a snapshot bit for bit. Raises: ValueError if it is of another environment."""
        arrays = {name: getattr(self._copies, name) for name in STATE} | {"endings": self._results.endings}
        for name, array in arrays.items():
            found = snapshot.get(name)
            if found is None or found.shape != array.shape or found.dtype != array.dtype:
                was = "none" if found is None else f"{found.dtype} {found.shape}"
                raise ValueError(f"snapshot {name}: got {was}, expected {array.dtype} {array.shape}: it is another's")
        for name, array in arrays.items():
            array[:] = snapshot[name]
        np.equal(self._results.endings, TERMINATED, out=self.terminated)
        np.equal(self._results.endings, TRUNCATED, out=self.truncated)
        self.n_ended, self._begun = int((self._results.endings != GOES_ON).sum()), True
