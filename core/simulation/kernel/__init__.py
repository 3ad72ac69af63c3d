"""The simulation kernel: what one bar does to one account, compiled and pure.

Environment, batch environment, backtest, replay and paper broker call these functions and no others, so they all give
the same numbers. docs/simulation.md says what happens in a bar; `layout` names the columns of every array.

Time: a decision at the close of bar t-1 becomes a target quantity and trades at the open of bar t. Quantities are
signed, money is in account currency, arrays are float64 and C-contiguous. Compiled code checks nothing inside its
loops: `core.simulation.bars.bar_table` and `MarketRules` do it before.
"""

# Everything public is found here by one import.
# ruff: noqa: F401, F403

from core.simulation.kernel.advance import (
    advance,
    advance_at,
    new_account,
    new_positions,
    reset_at,
    target_at,
    target_of,
)
from core.simulation.kernel.costs import commission
from core.simulation.kernel.layout import *
from core.simulation.kernel.levels import levels_after_order, protective_close, trail_after_bar, trail_level
from core.simulation.kernel.prices import fill_price, limit_price, slip_bps
from core.simulation.kernel.rewards import differential_downside, differential_sharpe
from core.simulation.kernel.runs import run_targets, run_weights
from core.simulation.kernel.sessions import borrow_fee, financing, interest, settle, split_quantity
from core.simulation.kernel.sizing import (
    allowed_at_open,
    limit_left,
    quantity_for_weight,
    room_at_open,
    target_for_action,
    target_for_choice,
    target_for_steps,
    target_for_weight,
    trade_at_open,
    trade_limit,
    within_limit,
)
