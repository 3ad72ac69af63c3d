"""Market rules, fee dates and bar checks."""

import json
import subprocess
import sys
from datetime import date

import numpy as np
import pandas as pd
import pytest

from core.simulation import kernel
from core.simulation.bars import validate_bars
from core.simulation.fees import FEE_FILE, fees_for, load_fees
from core.simulation.rules import MarketRules


def test_rules_survive_a_round_trip_through_json():
    rules = MarketRules(half_spread_bps=3.0, schedule="bps", commission_bps=10.0, short_selling=True, leverage=2)
    assert MarketRules.from_dict(json.loads(json.dumps(rules.to_dict()))) == rules
    assert MarketRules.from_dict({}) == MarketRules()
    with pytest.raises(ValueError, match="unknown market rules spread"):
        MarketRules.from_dict({"spread": 1.0})


def test_vector_holds_each_rule_at_its_index():
    vector = MarketRules(half_spread_bps=3.0, lot=0.5, short_selling=True, volatility_half_life=1.0).as_array()
    assert vector.shape == (kernel.N_RULES,) and vector.dtype == np.float64
    assert vector[kernel.RULE_HALF_SPREAD_BPS] == 3.0 and vector[kernel.RULE_LOT] == 0.5
    assert vector[kernel.RULE_SHORT_SELLING] == 1.0
    assert vector[kernel.RULE_VOLATILITY_DECAY] == 0.5  # one bar halves the weight
    assert vector[kernel.RULE_SCHEDULE] == kernel.SCHEDULE_PER_SHARE
    assert vector[kernel.RULE_COMMISSION_PER_UNIT] == 0.005
    assert MarketRules(schedule="none").as_array()[kernel.RULE_SCHEDULE] == kernel.SCHEDULE_NONE


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("half_spread_bps", -1.0),
        ("half_spread_bps", 10_000.0),
        ("impact_bps", float("nan")),
        ("impact_exponent", 0.0),
        ("tick_size", -0.01),
        ("lot", 0.0),
        ("multiplier", 0.0),
        ("leverage", float("inf")),
        ("schedule", "ibkr"),
        ("commission_bps", "10"),
        ("participation", 5.0),
        ("max_weight", 0.0),
        ("short_selling", 1),
        ("no_trade_band", -0.1),
        ("ruin_fraction", 10.0),
        ("volatility_half_life", 0.0),
    ],
)
def test_rules_that_make_no_sense_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        MarketRules(**{field: value})


@pytest.mark.parametrize(
    ("day", "sec_per_million", "taf", "cap"),
    [
        ("2015-06-01", 23.10, 0.000119, 5.95),
        ("2019-04-15", 23.10, 0.000119, 5.95),
        ("2019-04-16", 20.70, 0.000119, 5.95),
        ("2020-02-18", 22.10, 0.000119, 5.95),
        ("2021-02-25", 5.10, 0.000119, 5.95),
        ("2022-05-14", 22.90, 0.000119, 5.95),
        ("2023-02-27", 8.00, 0.000119, 5.95),
        ("2023-12-31", 8.00, 0.000119, 5.95),
        ("2024-01-01", 8.00, 0.000166, 8.30),
        ("2024-05-22", 27.80, 0.000166, 8.30),
        ("2025-05-13", 27.80, 0.000166, 8.30),
        ("2025-05-14", 0.0, 0.000166, 8.30),
        ("2026-01-01", 0.0, 0.000195, 9.79),
    ],
)
def test_regulatory_fees_change_on_their_dates(day, sec_per_million, taf, cap):
    for times in (np.array([day], dtype="datetime64[D]"), pd.DatetimeIndex([f"{day} 15:30"], tz="UTC")):
        np.testing.assert_allclose(fees_for(times), [[sec_per_million / 1e6, taf, cap]])


def test_fees_refuse_missing_times_and_name_their_version_and_sources():
    with pytest.raises(ValueError, match="row 1 is missing"):
        fees_for(np.array(["2024-01-01", "NaT"], dtype="datetime64[D]"))
    with pytest.raises(ValueError, match="before the fee table"):
        fees_for(np.array(["1850-01-01"], dtype="datetime64[D]"))
    assert load_fees().version == "2026-11-21"
    assert "Interactive Brokers" in load_fees().commissions["ibkr_fixed"].source


def test_fee_file_whose_dates_do_not_ascend_is_refused(tmp_path):
    rows = [{"valid_from": "2024-01-01", "rate": 1, "cap": 1}, {"valid_from": "2023-01-01", "rate": 1, "cap": 1}]
    path = tmp_path / "fees.json"
    raw = {"version": "x", "commissions": {}, "sec_usd_per_million": {"rows": rows}}
    path.write_text(json.dumps(raw | {"finra_taf_usd_per_share": {"rows": rows}}))
    with pytest.raises(ValueError, match="must ascend"):
        load_fees(path)


def test_every_commission_says_where_it_was_read_and_since_when_it_is_known():
    table = load_fees()
    rows = [*table.commissions.values(), *table.contracts.values(), *table.values.values()]
    assert len(rows) == 5
    for row in rows:
        assert len(row.source) > 40 and date(2020, 1, 1) < row.valid_from <= row.read <= date.fromisoformat(
            table.version
        )
    # A coin's taker fee as the library for exchanges states it.
    assert table.values["crypto"].bps == 10.0 and table.values["index"].bps == 1.0


def test_the_crypto_commission_is_what_its_source_says():
    ccxt = pytest.importorskip("ccxt", reason="needs the extra crypto")
    assert load_fees().values["crypto"].bps == pytest.approx(1e4 * ccxt.binance().fees["trading"]["taker"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": ""}, "crypto lacks source"),
        ({"read": None}, "crypto lacks read"),
        ({"valid_from": "2027-01-01"}, "read 2026-11-21, before it held"),
    ],
)
def test_a_commission_without_source_and_dates_is_refused(tmp_path, change, message):
    raw = json.loads(FEE_FILE.read_text())
    raw["commissions_bps"]["crypto"] |= change
    path = tmp_path / "fees.json"
    path.write_text(json.dumps(raw))
    with pytest.raises(ValueError, match=message):
        load_fees(path)


def test_bars_come_back_as_float_arrays_of_one_length():
    open_, close, volume, fees = validate_bars([1, 2], pd.Series([1.5, 2.5]), [0, 10])
    assert open_.dtype == close.dtype == volume.dtype == np.float64
    assert fees.shape == (2, 3) and not fees.any()


@pytest.mark.parametrize(
    ("open_", "close", "volume", "fees", "message"),
    [
        ([], [], [], None, "no bars"),
        ([1.0], [1.0, 2.0], [1.0, 1.0], None, "open has shape"),
        ([1.0, 1.0], [1.0, 2.0], [1.0], None, "volume has shape"),
        ([1.0, 1.0], [1.0, 2.0], [1.0, 1.0], [[0.0, 0.0, 0.0]], "fees has shape"),
        ([1.0, np.nan], [1.0, 2.0], [1.0, 1.0], None, "open: row 1 is nan"),
        ([1.0, 1.0], [0.0, 2.0], [1.0, 1.0], None, "close: row 0 is 0.0"),
        ([1.0, 1.0], [1.0, -2.0], [1.0, 1.0], None, "close: row 1 is -2.0"),
        ([1.0, 1.0], [1.0, np.inf], [1.0, 1.0], None, "close: row 1 is inf"),
        ([1.0, 1.0], [1.0, 2.0], [np.nan, 1.0], None, "volume: row 0 is nan"),
        ([1.0, 1.0], [1.0, 2.0], [1.0, -1.0], None, "volume: row 1 is -1.0"),
        ([1.0], [1.0], [1.0], [[0.0, np.nan, 0.0]], "fees: row 0"),
    ],
)
def test_bars_that_cannot_be_traded_are_refused_by_name_and_row(open_, close, volume, fees, message):
    with pytest.raises(ValueError, match=message):
        validate_bars(open_, close, volume, fees)


def test_simulation_and_metrics_need_no_django():
    modules = "core.simulation.account, core.simulation.bars, core.simulation.trades, risk.metrics"
    code = f"import sys, {modules}; sys.exit(any(name.split('.')[0] == 'django' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
