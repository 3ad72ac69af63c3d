"""The page's part "Commission", with its own copy of the dated tables."""

from datetime import date

from core.tests.reference.state import Bar, Rules

# Valid from, US dollars per million of value sold; 23.10 before the first row.
SEC = (
    (date(2019, 4, 16), 20.70),
    (date(2020, 2, 18), 22.10),
    (date(2021, 2, 25), 5.10),
    (date(2022, 5, 14), 22.90),
    (date(2023, 2, 27), 8.00),
    (date(2024, 5, 22), 27.80),
    (date(2025, 5, 14), 0.0),
)
# Valid from, US dollars a share sold, cap per sale; the first pair of numbers holds before the first row.
TAF = ((date(2024, 1, 1), 0.000166, 8.30), (date(2026, 1, 1), 0.000195, 9.79))


def fees_on(day: date) -> tuple[float, float, float]:
    """SEC rate as a fraction of value, TAF per share, TAF cap."""
    sec, taf = 23.10, (0.000119, 5.95)
    for start, rate in SEC:
        if day >= start:
            sec = rate
    for start, per_share, cap in TAF:
        if day >= start:
            taf = (per_share, cap)
    return sec / 1e6, *taf


def commission(traded: float, price: float, bar: Bar, rules: Rules, *, limit: bool = False) -> float:
    """What an order pays in all; limit: it rested in the book and took no liquidity."""
    n, value = abs(traded), abs(traded) * price * rules.multiplier
    if n == 0 or rules.schedule == "none":
        return 0.0
    if rules.schedule == "bps":
        return rules.commission_bps / 1e4 * value
    if rules.schedule == "ibkr_futures":
        return rules.per_contract * n
    paid = ibkr_fixed(n, value) if rules.schedule == "ibkr_fixed" else ibkr_tiered(n, value, limit=limit)
    if traded < 0:
        paid += bar.sec_rate * value + min(bar.taf_per_share * n, bar.taf_cap)
    return paid


def ibkr_fixed(n: float, value: float) -> float:
    return min(max(1.00, 0.005 * n), 0.01 * value)


def ibkr_tiered(n: float, value: float, *, limit: bool) -> float:
    broker = min(max(0.35, 0.0035 * n), 0.01 * value)
    exchange = 0.0 if limit else 0.0030 * n
    clearing = min(0.0002 * n, 0.005 * value)
    return broker + exchange + clearing + (0.000175 + 0.00056) * broker
