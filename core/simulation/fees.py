"""Commission schedules and regulatory fees with their dates, from ``fee_schedules.json``.

Rates change: add a row with its valid-from date to the file and raise its version; a run's record names the version.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

FEE_FILE = Path(__file__).with_name("fee_schedules.json")


@dataclass(frozen=True)
class PerShareSchedule:
    """Commission per share with a minimum per order and a maximum as a fraction of its value."""

    per_share: float  # account currency per share
    minimum: float  # account currency per order
    maximum_fraction: float  # of the order's value; beats the minimum
    source: str  # where the rates were read
    exchange_per_share: float = 0.0  # for taking liquidity
    clearing_per_share: float = 0.0  # account currency per share
    clearing_maximum_fraction: float = 0.0  # of the order's value
    pass_through: float = 0.0  # regulators' fees as a fraction of the commission


@dataclass(frozen=True)
class PerContractSchedule:
    """Commission per futures contract and side."""

    broker: float  # account currency per contract
    exchange_and_regulatory: float  # account currency per contract
    source: str  # where the rates were read

    @property
    def per_contract(self) -> float:
        return self.broker + self.exchange_and_regulatory


@dataclass(frozen=True)
class FeeTable:
    """One dated version of all fees; dates ascend, each row holds from its date until the next row's."""

    version: str
    commissions: dict[str, PerShareSchedule]
    contracts: dict[str, PerContractSchedule]
    sec_dates: np.ndarray  # datetime64[D]
    sec_rates: np.ndarray  # fraction of the value of a sale
    taf_dates: np.ndarray  # datetime64[D]
    taf_rates: np.ndarray  # account currency per share sold
    taf_caps: np.ndarray  # account currency per sale


@cache
def load_fees(path: Path = FEE_FILE) -> FeeTable:
    """Read a fee file. Raises: ValueError if its dates do not ascend."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    sec, taf = (raw["sec_usd_per_million"]["rows"], raw["finra_taf_usd_per_share"]["rows"])
    return FeeTable(
        version=raw["version"],
        commissions={
            name: PerShareSchedule(**{key: value for key, value in row.items() if key != "valid_from"})
            for name, row in raw["commissions"].items()
        },
        contracts={
            name: PerContractSchedule(row["broker"], row["exchange_and_regulatory"], row["source"])
            for name, row in raw.get("commissions_per_contract", {}).items()
        },
        sec_dates=_dates(sec, path),
        sec_rates=np.array([row["rate"] for row in sec]) / 1e6,
        taf_dates=_dates(taf, path),
        taf_rates=np.array([row["rate"] for row in taf], dtype=float),
        taf_caps=np.array([row["cap"] for row in taf], dtype=float),
    )


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
