"""One Gymnasium environment for every asset: an account trading one instrument or several.

At decision t the agent sees features of bars <= t and its own state at t's close; the order trades at the open of
t+1. So nothing it sees can know the price it gets.
"""

from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from agents.environment.actions import CHOICE, STEPS, TARGET, space_of
from agents.environment.batch_arrays import LIMIT
from agents.environment.batch_env import BatchEnv
from agents.environment.env_config import EnvConfig
from agents.environment.market import Market
from agents.environment.rewards import COMPONENT_NAMES
from core.simulation import kernel
from core.simulation.account import REASONS

__all__ = ["CHOICE", "LIMIT", "STEPS", "TARGET", "EnvConfig", "Market", "TradingEnv"]


class TradingEnv(gymnasium.Env[np.ndarray, Any]):
    """A batch of one. Observation: normalised features of the window, oldest bar first, then own state, float32.

    Training: episodes of `episode_length` bars, see EnvConfig.episodes. Evaluation: one pass, first to last.
    `truncated` at the window's last bar, `terminated` after ruin or a margin call. `info` holds the reward's
    components, the account and the fills. account (N_ACCOUNT,), positions (I, N_POSITION) and memories (I, N_MEMORY)
    are where it stands, t the row of the last closed bar.
    """

    metadata = {"render_modes": []}

    def __init__(self, market: Market, config: EnvConfig) -> None:
        self.market, self.config = market, config
        self.batch = BatchEnv(market, config, 1, n_threads=1, autoreset=False)
        self.last = self.batch.last
        self.account, self.positions = self.batch.accounts[0], self.batch.positions[0]
        self.memories = self.batch.memories[0]
        self.is_continuous = config.action == TARGET
        self.observation_space = spaces.Box(-LIMIT, LIMIT, (self.batch.n_inputs,), np.float32)
        self.action_space = space_of(config.action, market.n_instruments)
        # Lets Gymnasium's tools, its checker among them, make another one like this.
        self.spec = EnvSpec("desk/Trading-v0", cast(Any, TradingEnv), kwargs={"market": market, "config": config})

    @property
    def t(self) -> int:
        """Row of the last closed bar."""
        return int(self.batch.rows[0])

    @property
    def memory(self) -> np.ndarray:
        """What it remembers of the first instrument, (N_MEMORY,), empty where nothing is."""
        return self.memories[0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start flat with fresh cash. Returns: the first observation and {"row": bar number}."""
        super().reset(seed=seed)
        # Chronological windows go on from one episode to the next; a seed starts them again.
        if seed is not None or self.config.episode_length is not None:
            self.batch.reseed(int(self.np_random.integers(2**63)), keep_windows=seed is None)
        observation = self.batch.reset()[0].copy()
        return observation, {"row": self.t}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Carry out one decision through the next bar.

        Raises: ValueError for a NaN action, one that is no choice, or a step after the end.
        """
        batch = self.batch
        batch.step(np.asarray(action, dtype=float).reshape(1, -1))
        return (
            batch.observations[0].copy(), float(batch.rewards[0]), bool(batch.terminated[0]),
            bool(batch.truncated[0]), self._info(),
        )  # fmt: skip

    def action_masks(self) -> np.ndarray:
        """Which actions make sense now, (I * n_actions,) bool. Raises: ValueError where they are continuous."""
        return self.batch.masks()[0].copy()

    def _fills(self, fills: np.ndarray) -> list[tuple[int, float, float, float, float, str]]:
        """Instrument, traded, price, commission, slippage and reason of each, in the order in which they happened."""
        return [
            (i, *fills[i, slot, : kernel.FILL_REASON].tolist(), REASONS[int(fills[i, slot, kernel.FILL_REASON])])
            for slot in (kernel.AT_OPEN, kernel.PROTECTIVE)
            for i in range(len(fills))
            if fills[i, slot, kernel.FILL_TRADED] != 0.0
        ]

    def _info(self) -> dict[str, Any]:
        out, fills, held = self.batch.out[0], self.batch.fills[0], self.positions[:, kernel.QUANTITY]
        filled = fills[0, kernel.AT_OPEN]
        if filled[kernel.FILL_TRADED] == 0.0:
            filled = fills[0, kernel.PROTECTIVE]
        happened = filled[kernel.FILL_TRADED] != 0.0
        return {
            "row": self.t,
            "equity": float(self.account[kernel.EQUITY]),
            "quantity": float(held[0]),
            "quantities": held.copy(),
            # The first instrument's first fill of the bar; `fills` has all of them, see _fills.
            "traded": float(filled[kernel.FILL_TRADED]),
            "price": float(filled[kernel.FILL_PRICE]) if happened else None,
            "commission": float(out[kernel.OUT_COMMISSION]),
            "slippage": float(out[kernel.OUT_SLIPPAGE]),
            "interest": float(out[kernel.OUT_INTEREST]),
            "borrow": float(out[kernel.OUT_BORROW]),
            "exposure": float(out[kernel.OUT_EXPOSURE]),
            "fills": self._fills(fills),
            "components": dict(zip(COMPONENT_NAMES, self.batch.components[0].tolist(), strict=True)),
        }
