"""How well an account did, from its equity per bar.

Equity is one array (T,) in account currency, marked at each bar's close; returns are simple fractions per bar,
(T-1,). Nothing here rounds. Ratios have no value where their divisor is 0: then they are 0.0 if the dividend is 0
too (an account that did nothing), else NaN. Standard deviations below 1e-12 per bar count as 0.
"""

import numpy as np

NO_DEVIATION = 1e-12


def drawdown(equity: np.ndarray) -> np.ndarray:
    """Fraction below the running peak, bar by bar.

    equity: shape (T,), account currency, every value > 0.
    Returns: shape (T,); 0.0 at a peak, 0.25 a quarter below it.
    Raises: ValueError if equity is empty or holds a value <= 0.
    Source: Magdon-Ismail and Atiya, "Maximum Drawdown", Risk, 2004.
    """
    equity = _checked(equity)
    # The peak so far, not the overall peak: a later high says nothing about earlier bars.
    return 1.0 - equity / np.maximum.accumulate(equity)


def max_drawdown(equity: np.ndarray) -> float:
    """Deepest drawdown, 0 to 1, positive. Raises: as drawdown."""
    return float(drawdown(equity).max())


def longest_drawdown_span(equity: np.ndarray) -> tuple[int, int]:
    """First longest stretch below a peak: (row of the peak, last row still below it); (0, 0) without any.

    equity: shape (T,), > 0. A stretch still open at the end counts up to the last row. Raises: as drawdown.
    """
    rows = np.arange(np.size(equity))
    below = drawdown(equity) > 0
    # Row of the latest peak, carried forward through the bars below it.
    peak = np.maximum.accumulate(np.where(below, 0, rows))
    last = int(np.argmax(rows - peak))
    return int(peak[last]), last


def longest_drawdown_bars(equity: np.ndarray) -> int:
    """Bars in the longest stretch below a peak, 0 without any. Raises: as drawdown."""
    peak, last = longest_drawdown_span(equity)
    return last - peak


def returns(equity: np.ndarray) -> np.ndarray:
    """Simple fraction per bar, shape (T-1,), for equity of shape (T,), > 0. Raises: as drawdown."""
    equity = _checked(equity)
    return equity[1:] / equity[:-1] - 1.0


def total_return(equity: np.ndarray) -> float:
    """Last equity over first, minus 1; 0.0 for one bar. Raises: as drawdown."""
    equity = _checked(equity)
    return float(equity[-1] / equity[0] - 1.0)


def annual_return(equity: np.ndarray, periods_per_year: float) -> float:
    """Compound growth per year, as a fraction; NaN for fewer than two bars.

    equity: shape (T,), > 0; periods_per_year: bars in a year, 252 for daily bars.
    Raises: ValueError as drawdown, or unless periods_per_year > 0.
    """
    equity, periods = _checked(equity), _checked_periods(periods_per_year)
    if equity.size < 2:
        return float("nan")
    with np.errstate(over="ignore"):  # a few lucky minutes grow past any float in a year: inf
        return float(np.power(equity[-1] / equity[0], periods / (equity.size - 1)) - 1.0)


def annual_volatility(equity: np.ndarray, periods_per_year: float) -> float:
    """Sample standard deviation (ddof 1) of returns times sqrt(periods_per_year); NaN for fewer than two returns."""
    returned, periods = returns(equity), _checked_periods(periods_per_year)
    return float(returned.std(ddof=1) * np.sqrt(periods)) if returned.size > 1 else float("nan")


def sharpe_ratio(equity: np.ndarray, periods_per_year: float, rate_per_year: float = 0.0) -> float:
    """Mean excess return over its sample standard deviation (ddof 1), annualised by sqrt(periods_per_year).

    equity: shape (T,), > 0; rate_per_year: simple interest as a fraction, spread evenly over the bars.
    Returns: NaN for fewer than two returns; without deviation 0.0 if the mean excess is 0, else NaN.
    Source: Sharpe, "The Sharpe Ratio", Journal of Portfolio Management, 1994.
    """
    periods = _checked_periods(periods_per_year)
    excess = returns(equity) - rate_per_year / periods
    if excess.size < 2:
        return float("nan")
    return _ratio(float(excess.mean()), float(excess.std(ddof=1))) * float(np.sqrt(periods))


def sortino_ratio(equity: np.ndarray, periods_per_year: float, rate_per_year: float = 0.0) -> float:
    """Mean excess return over its downside deviation, annualised by sqrt(periods_per_year).

    Downside deviation: root of the mean of min(0, excess)^2 over all bars, the good ones counting as 0.
    Returns: NaN for no return; without a losing bar 0.0 if the mean excess is 0, else NaN.
    Source: Sortino and Price, "Performance Measurement in a Downside Risk Framework", 1994.
    """
    periods = _checked_periods(periods_per_year)
    excess = returns(equity) - rate_per_year / periods
    if excess.size == 0:
        return float("nan")
    downside = np.sqrt(np.mean(np.minimum(excess, 0.0) ** 2))
    return _ratio(float(excess.mean()), float(downside)) * float(np.sqrt(periods))


def calmar_ratio(equity: np.ndarray, periods_per_year: float) -> float:
    """Annual return over maximum drawdown; without a drawdown 0.0 if the return is 0, else NaN.

    Source: Young, "Calmar Ratio: A Smoother Tool", Futures, 1991 (there over 36 months; here over all bars).
    """
    return _ratio(annual_return(equity, periods_per_year), max_drawdown(equity))


def profit_factor(trade_results: np.ndarray) -> float:
    """Sum of gains over sum of losses of closed trades, net of costs, shape (n,).

    Returns: inf with gains and no loss, NaN without any gain or loss. Raises: ValueError for a NaN or inf result.
    """
    results = _checked_results(trade_results)
    gains, losses = results[results > 0].sum(), -results[results < 0].sum()
    if losses == 0:
        return float("inf") if gains > 0 else float("nan")
    return float(gains / losses)


def win_rate(trade_results: np.ndarray) -> float:
    """Share of closed trades with a result above 0, 0 to 1; NaN without trades. Raises: as profit_factor."""
    results = _checked_results(trade_results)
    return float((results > 0).mean()) if results.size else float("nan")


def exposure_share(quantity: np.ndarray) -> float:
    """Share of bars whose close held a position, 0 to 1, for quantities of shape (T,); NaN without bars."""
    quantity = np.asarray(quantity, dtype=float)
    return float((quantity != 0).mean()) if quantity.size else float("nan")


def turnover(traded_value: np.ndarray, equity: np.ndarray, periods_per_year: float) -> float:
    """Value bought and sold per year as a multiple of mean equity: in and out once a year is 2.

    traded_value: shape (T,), account currency, signed or not; equity: shape (T,), > 0.
    Raises: ValueError as drawdown, or if the shapes differ.
    """
    equity, periods = _checked(equity), _checked_periods(periods_per_year)
    traded = np.abs(np.asarray(traded_value, dtype=float))
    if traded.shape != equity.shape:
        raise ValueError(f"traded_value has shape {traded.shape}, expected {equity.shape} like equity; one per bar")
    return float(traded.sum() / equity.mean() * periods / equity.size)


def summary(equity: np.ndarray, periods_per_year: float, rate_per_year: float = 0.0) -> dict[str, float]:
    """The metrics that need nothing but equity, by name; values may be NaN, see each function. Raises: as drawdown."""
    return {
        "total_return": total_return(equity),
        "annual_return": annual_return(equity, periods_per_year),
        "annual_volatility": annual_volatility(equity, periods_per_year),
        "sharpe_ratio": sharpe_ratio(equity, periods_per_year, rate_per_year),
        "sortino_ratio": sortino_ratio(equity, periods_per_year, rate_per_year),
        "calmar_ratio": calmar_ratio(equity, periods_per_year),
        "max_drawdown": max_drawdown(equity),
        "longest_drawdown_bars": float(longest_drawdown_bars(equity)),
    }


def _ratio(dividend: float, divisor: float) -> float:
    if divisor > NO_DEVIATION:
        return dividend / divisor
    return 0.0 if abs(dividend) <= NO_DEVIATION else float("nan")


def _checked(equity: np.ndarray) -> np.ndarray:
    equity = np.asarray(equity, dtype=float)
    if equity.ndim != 1 or equity.size == 0 or not (np.isfinite(equity) & (equity > 0)).all():
        raise ValueError("equity must be one non-empty, positive row: pass account value per bar, not returns")
    return equity


def _checked_periods(periods_per_year: float) -> float:
    if not 0 < periods_per_year < float("inf"):
        raise ValueError(f"periods_per_year must be above 0, got {periods_per_year!r}; daily bars have 252")
    return float(periods_per_year)


def _checked_results(trade_results: np.ndarray) -> np.ndarray:
    results = np.asarray(trade_results, dtype=float)
    if not np.isfinite(results).all():
        raise ValueError("trade_results holds NaN or inf: pass the closed trades' results in account currency")
    return results
