"""Commission schedules and regulatory fees with their dates, from ``fee_schedules.json``.

Rates change: add a row with its valid-from date to the file and raise its version; a run's record names the version.
"""

import json
from dataclasses import dataclass, fields
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

FEE_FILE = Path(__file__).with_name("fee_schedules.json")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Where rates were read and when."""

    source: str
    valid_from: date  # first day on which the reading shows them in force; earlier bars are charged the same
    read: date


_Schedule = TypeVar("_Schedule", bound=Reading)


@dataclass(frozen=True, kw_only=True)
class PerShareSchedule(Reading):
    """Commission per share with a minimum per order and a maximum as a fraction of its value."""

    per_share: float  # account currency per share
    minimum: float  # account currency per order
    maximum_fraction: float  # of the order's value; beats the minimum
    exchange_per_share: float = 0.0  # for taking liquidity
    clearing_per_share: float = 0.0  # account currency per share
    clearing_maximum_fraction: float = 0.0  # of the order's value
    pass_through: float = 0.0  # regulators' fees as a fraction of the commission


@dataclass(frozen=True, kw_only=True)
class PerContractSchedule(Reading):
    """Commission per futures contract and side."""

    broker: float  # account currency per contract
    exchange_and_regulatory: float  # account currency per contract

    @property
    def per_contract(self) -> float:
        return self.broker + self.exchange_and_regulatory


@dataclass(frozen=True, kw_only=True)
class ValueSchedule(Reading):
    """Commission as a share of an order's value."""

    bps: float  # hundredths of a percent


@dataclass(frozen=True)
class FeeTable:
    """One dated version of all fees; regulators' dates ascend, each row holds from its date until the next row's."""

    version: str
    commissions: dict[str, PerShareSchedule]
    contracts: dict[str, PerContractSchedule]
    values: dict[str, ValueSchedule]  # by class of instrument: crypto, index
    sec_dates: np.ndarray  # datetime64[D]
    sec_rates: np.ndarray  # fraction of the value of a sale
    taf_dates: np.ndarray  # datetime64[D]
    taf_rates: np.ndarray  # account currency per share sold
    taf_caps: np.ndarray  # account currency per sale


@cache
def load_fees(path: Path = FEE_FILE) -> FeeTable:
    """Read a fee file. Raises: ValueError if its dates do not ascend or a row lacks its source or dates."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    sec, taf = (raw["sec_usd_per_million"]["rows"], raw["finra_taf_usd_per_share"]["rows"])
    return FeeTable(
        version=raw["version"],
        commissions=_schedules(raw["commissions"], PerShareSchedule, path),
        contracts=_schedules(raw.get("commissions_per_contract", {}), PerContractSchedule, path),
        values=_schedules(raw.get("commissions_bps", {}), ValueSchedule, path),
        sec_dates=_dates(sec, path),
        sec_rates=np.array([row["rate"] for row in sec]) / 1e6,
        taf_dates=_dates(taf, path),
        taf_rates=np.array([row["rate"] for row in taf], dtype=float),
        taf_caps=np.array([row["cap"] for row in taf], dtype=float),
    )


def _schedules(rows: dict[str, dict[str, Any]], kind: type[_Schedule], path: Path) -> dict[str, _Schedule]:
    found = {}
    for name, row in rows.items():
        needed = {field.name for field in fields(Reading)}
        if missing := sorted(needed - {key for key, value in row.items() if value}):
            raise ValueError(f"{path.name}: {name} lacks {', '.join(missing)}; say where its rates were read and when")
        dates = {key: date.fromisoformat(row[key]) for key in ("valid_from", "read")}
        if dates["valid_from"] > dates["read"]:
            raise ValueError(f"{path.name}: {name} was read {dates['read']}, before it held; correct one of the dates")
        found[name] = kind(**(row | dates))
    return found


def _dates(rows: list[dict], path: Path) -> np.ndarray:
    dates = np.array([row["valid_from"] for row in rows], dtype="datetime64[D]")
    if (np.diff(dates) <= np.timedelta64(0, "D")).any():
        raise ValueError(f"{path.name}: valid_from dates must ascend, got {dates.tolist()}; sort the rows")
    return dates


def fees_for(times: ArrayLike, table: FeeTable | None = None) -> np.ndarray:
    """Regulatory fees on sells, bar by bar.

    times: shape (T,), datetime64 or a pandas DatetimeIndex (naive means UTC); the UTC date decides, because a daily
    bar starts at midnight UTC of its session's date and US sessions end before the UTC date changes.
    Returns: shape (T, 3): SEC rate (fraction of value), FINRA TAF per share, TAF cap per order.
    Raises: ValueError for a missing time or one before the table begins.
    """
    table = table or load_fees()
    dates = np.atleast_1d(np.asarray(times, dtype="datetime64[ns]")).astype("datetime64[D]")
    if np.isnat(dates).any():
        raise ValueError(f"times: row {int(np.flatnonzero(np.isnat(dates))[0])} is missing; every bar needs a time")
    sec = np.searchsorted(table.sec_dates, dates, side="right") - 1
    taf = np.searchsorted(table.taf_dates, dates, side="right") - 1
    if (sec < 0).any() or (taf < 0).any():
        raise ValueError(f"times: {dates.min()} lies before the fee table's first row; add a row to {FEE_FILE.name}")
    return np.column_stack([table.sec_rates[sec], table.taf_rates[taf], table.taf_caps[taf]])
