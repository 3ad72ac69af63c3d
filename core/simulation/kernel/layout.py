"""Where each number lies in the kernel's arrays. All are float64; a row is meant unless said.

Compiled code takes these as constants: `core.simulation.compiled` sees to it that a change here is noticed.
"""

# A bar of one instrument, built by core.simulation.bars.bar_table: (T, I, N_BAR).
BAR_OPEN = 0
BAR_HIGH = 1
BAR_LOW = 2
BAR_CLOSE = 3
BAR_VOLUME = 4  # 0 for an instrument without volume
BAR_ATR = 5  # average true range known at this bar's close, NaN while unknown
BAR_DAY = 6  # ordinal of the session's date; a new session begins where it grows
BAR_SPLIT = 7  # new units for one old before this session, 1 for none
BAR_DIVIDEND = 8  # account currency a unit held after the split, 0 for none
BAR_SEC_RATE = 9  # fraction of the value of a sale
BAR_TAF_PER_SHARE = 10  # account currency a share sold
BAR_TAF_CAP = 11  # account currency a sale
N_BAR = 12

# The account.
CASH = 0
EQUITY = 1  # at the last close
PEAK = 2
DRAWDOWN = 3
VARIANCE = 4  # of net returns, exponentially weighted
SHARPE_A = 5  # first moment of net returns, exponentially weighted
SHARPE_B = 6  # second moment
DOWNSIDE = 7  # second moment of the losses alone
START_EQUITY = 8
PENDING_FORCE = 9  # 1: ruin or margin call, everything is sold at the next open
TERMINATED = 10
N_ACCOUNT = 11

# What the account holds of one instrument: (I, N_POSITION).
QUANTITY = 0
AVERAGE_PRICE = 1  # 0 when flat
STOP = 2  # NaN: none
TARGET = 3  # NaN: none
BEST = 4  # best price since the entry, NaN when flat
AGE = 5  # closes seen since it was opened or reversed
REST = 6  # 1: the rest of a protective close trades at the next open
FORCED_FLAT = 7  # 1: the time stop closes it at the next open
LAST_ACTION = 8  # written by the environment for its consistency reward, NaN before the first decision
N_POSITION = 9

# Rules of one instrument, filled by MarketRules.as_array(): (I, N_RULES). Those of the account are read from the
# first instrument's row: leverage, margin_call, ruin_fraction, interest, volatility_decay, sharpe_rate.
RULE_HALF_SPREAD_BPS = 0
RULE_IMPACT_BPS = 1
RULE_IMPACT_EXPONENT = 2
RULE_TICK_SIZE = 3
RULE_LOT = 4
RULE_MULTIPLIER = 5
RULE_LEVERAGE = 6
RULE_SCHEDULE = 7
RULE_COMMISSION_BPS = 8
RULE_COMMISSION_PER_UNIT = 9  # share or contract
RULE_COMMISSION_MINIMUM = 10
RULE_COMMISSION_MAXIMUM_FRACTION = 11
RULE_PARTICIPATION = 12
RULE_MAX_WEIGHT = 13
RULE_SHORT_SELLING = 14
RULE_NO_TRADE_BAND = 15
RULE_RUIN_FRACTION = 16
RULE_VOLATILITY_DECAY = 17
RULE_STOP_LOSS = 18
RULE_TAKE_PROFIT = 19
RULE_TRAIL_FRACTION = 20
RULE_TRAIL_ATR = 21
RULE_TIME_STOP = 22
RULE_MARGIN_CALL = 23
RULE_INTEREST_RATE = 24
RULE_CREDIT_SPREAD = 25
RULE_DEBIT_SPREAD = 26
RULE_BORROW_RATE = 27
RULE_SETTLED_DAILY = 28
RULE_SHARPE_RATE = 29
RULE_EXCHANGE_PER_SHARE = 30
RULE_CLEARING_PER_SHARE = 31
RULE_CLEARING_MAXIMUM_FRACTION = 32
RULE_PASS_THROUGH = 33
N_RULES = 34

SCHEDULE_NONE = 0
SCHEDULE_BPS = 1
SCHEDULE_PER_SHARE = 2  # US shares: per-share price with minimum and maximum, regulatory fees on sells
SCHEDULE_TIERED = 3  # likewise, with exchange, clearing and pass-through fees
SCHEDULE_PER_CONTRACT = 4  # futures

# What one bar did to the account: reward components before weights, then sums of money over its instruments.
OUT_NET_RETURN = 0
OUT_LOG_RETURN = 1
OUT_DRAWDOWN = 2
OUT_VOLATILITY = 3
OUT_COST = 4
OUT_DIFFERENTIAL_SHARPE = 5
OUT_DIFFERENTIAL_DOWNSIDE = 6
OUT_HOLDING = 7
OUT_CONSISTENCY = 8  # 0 here; the environment knows the actions
OUT_EXPOSURE = 9  # net position value / equity at the close, 0 without equity
OUT_GROSS_EXPOSURE = 10
OUT_COMMISSION = 11
OUT_SLIPPAGE = 12  # paid beside the reference prices, >= 0
OUT_INTEREST = 13  # received > 0, paid < 0
OUT_BORROW = 14  # paid, >= 0
OUT_DIVIDENDS = 15  # received > 0, paid < 0
OUT_TURNOVER = 16  # value of everything traded
N_OUT = 17

REWARD_COMPONENTS = {
    "net_return": OUT_NET_RETURN,
    "log_return": OUT_LOG_RETURN,
    "drawdown": OUT_DRAWDOWN,
    "volatility": OUT_VOLATILITY,
    "cost": OUT_COST,
    "differential_sharpe": OUT_DIFFERENTIAL_SHARPE,
    "differential_downside": OUT_DIFFERENTIAL_DOWNSIDE,
    "holding": OUT_HOLDING,
    "consistency": OUT_CONSISTENCY,
}

# Fills of one bar: (I, 2, N_FILL), the order at the open and the protective close; traded 0 means no fill.
FILL_TRADED = 0
FILL_PRICE = 1  # NaN without a fill
FILL_COMMISSION = 2
FILL_SLIPPAGE = 3
FILL_REASON = 4
N_FILL = 5
AT_OPEN, PROTECTIVE = 0, 1

REASON_DECISION = 0
REASON_STOP = 1
REASON_TRAIL = 2
REASON_TARGET = 3
REASON_REST = 4
REASON_FORCE = 5

# Fills of a whole run, in order: (n, N_RUN_FILL). From RUN_TRADED on the columns are those of one bar's fills.
RUN_BAR = 0
RUN_TRADED = 1
RUN_PRICE = 2
RUN_COMMISSION = 3
RUN_SLIPPAGE = 4
RUN_REASON = 5
RUN_INSTRUMENT = 6
N_RUN_FILL = 7

# Kinds of actions for target_of.
CHOICE, STEPS, CONTINUOUS = 0, 1, 2
HOLD, BUY, SELL = 0, 1, 2  # of three actions
N_CHOICES, N_STEPS = 3, 9  # nine: 0 hold, 1-4 buy 25, 50, 75, 100 %, 5-8 sell likewise

# A price on a tick must stay there although its float lies a hair beside it; quantities likewise, in lots.
ROUNDING_SLACK = 1e-9
# Ratios of splits come as floats: 30 old units times 0.3333333333 are 10 new ones. As core.ledger has it.
RATIO_ERROR = 1e-8
# log1p has no value at -100 %: a wiped-out account scores this loss, about -13.8, instead of -inf.
WORST_LOGGED_RETURN = -1.0 + 1e-6
# Below this variance a ratio of return to risk says nothing.
LEAST_VARIANCE = 1e-12
DAYS_OF_INTEREST_YEAR = 360.0
