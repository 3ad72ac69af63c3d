"""Numbers, times and small pictures as pages show them."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tradingsite import pictures
from tradingsite.templatetags import desk

T = "\u202f"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (desk.money(Decimal("104318.2249")), "104,318.22"),
        (desk.money(None), "–"),
        (desk.money(float("nan")), "–"),
        (desk.signed(-8.26), "−8.26"),
        (desk.signed(612.4), "+612.40"),
        (desk.signed(-0.001), "0.00"),
        (desk.percent(0.018), f"1.8{T}%"),
        (desk.signed_percent(0.0432, 2), f"+4.32{T}%"),
        (desk.below(0.018), f"−1.8{T}%"),
        (desk.below(0), f"0.0{T}%"),
        (desk.times(0.86), f"0.86{T}×"),
        (desk.quantity(Decimal("96.0000000000")), "96"),
        (desk.quantity(-0.25), "−0.25"),
        (desk.signed_quantity(37), "+37"),
        (desk.compact(0.00031), "0.00031"),
        (desk.compact(True), "yes"),
        (desk.duration(252), "4 min 12 s"),
        (desk.duration(None), "–"),
        (desk.short("9c41" * 16), "9c419c…9c41"),
        (desk.word("kill_switch.engaged"), "kill switch engaged"),
    ],
)
def test_values_are_shown_as(shown, expected):
    assert shown == expected


def test_a_daily_bar_shows_its_date_only():
    assert desk.moment_text(datetime(2011, 7, 1, tzinfo=UTC)) == "2011-07-01"
    assert desk.moment_text(datetime(2011, 7, 1, 14, 45, tzinfo=UTC)) == "2011-07-01 14:45"
    assert desk.moment_text(0) == "1970-01-01"


def test_findings_are_bold_and_names_are_not():
    text = desk.emphasise("RSI 14 fell to 28.4 while the 50-day average is rising by 0.31 % a day.")
    assert text == "RSI 14 fell to <b>28.4</b> while the 50-day average is rising by <b>0.31 %</b> a day."


def test_a_sentence_cannot_bring_markup():
    assert desk.emphasise("<script>1</script>") == "&lt;script&gt;<b>1</b>&lt;/script&gt;"


def test_a_meter_stays_within_its_track():
    assert 'width="100.0%"' in pictures.meter(3, 1)
    assert 'width="0.0%"' in pictures.meter(-1, 1)
    assert 'width="50.0%"' in pictures.meter(1, 2)


def test_a_bar_around_zero_grows_to_its_side():
    # half of the largest: a quarter of the whole width, left of the middle when negative
    assert 'x="25.00%" width="25.00%"' in pictures.zero_bar(-0.5, 1)
    assert 'x="50.00%" width="25.00%"' in pictures.zero_bar(0.5, 1)


def test_a_picture_needs_two_points():
    assert pictures.picture([1.0]) == ""
    assert "<polyline" in pictures.picture([1.0, 2.0])


def test_every_module_is_in_the_import_map(settings):
    folder = settings.BASE_DIR / "static" / "desk" / "js"
    assert sorted(path.stem for path in folder.glob("*.js")) == sorted(desk.MODULES)
