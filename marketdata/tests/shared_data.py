"""Optional reference data next to the checkout: tests that need it skip when it is not there."""

from pathlib import Path

import pandas as pd
import pytest

from marketdata.series import BarSeries

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data"


def need(name: str) -> Path:
    """Path of a reference file, or skip."""
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"reference data {name} is not next to the checkout")
    return path


def daily(name: str) -> pd.DataFrame:
    """Daily bars by epoch second."""
    frame = pd.read_parquet(need(f"daily/{name}.parquet"))
    frame["time"] = (frame["timestamp"] - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(seconds=1)
    return frame.set_index("time")


def bars(frame: pd.DataFrame) -> BarSeries:
    """The same as a series."""
    opens, high, low, close, volume = (frame[name].to_numpy() for name in ("open", "high", "low", "close", "volume"))
    return BarSeries(frame.index.to_numpy(), opens, high, low, close, volume)
