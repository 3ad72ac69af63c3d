"""The Data page in a real browser: zooming over everything, switching, adding, importing, and a replay that moves."""

from datetime import UTC, datetime

import numpy as np
import pytest

from core.models import Instrument
from core.notices import notify
from marketdata.bar_store import store_bars
from marketdata.models import DAY, DataFault, DataImport, Fetch, Stream
from marketdata.series import BarSeries
from tests import factories
from tests.browser.test_pages import look

pytestmark = [pytest.mark.browser]

WIDTHS = (1440, 390)
START = int(datetime(2020, 1, 6, 14, 30, tzinfo=UTC).timestamp())
N_DAYS = 40
HELD = "document.querySelector('#data-chart').deskData"
SHOWN = "document.querySelector('[data-shown]').innerText"


def walk(time: np.ndarray, seed: int = 1) -> BarSeries:
    """A made-up price that wanders."""
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 5e-4, len(time))))
    opened = np.concatenate([[100.0], close[:-1]])
    wick = 0.02 * random.random(len(time))
    high, low = np.maximum(opened, close) + wick, np.minimum(opened, close) - wick
    return BarSeries(time, opened, high, low, close, 1000 * random.random(len(time)))


def weekdays(n: int) -> np.ndarray:
    """Sessions of 390 minutes on weekdays, in seconds UTC."""
    days = np.arange(n * 7 // 5 + 7)
    days = days[days % 7 < 5][:n]
    return (START + days[:, None] * DAY + 60 * np.arange(390)).ravel()


@pytest.fixture
def spy(transactional_db) -> Instrument:
    """Forty days of minutes, and daily bars."""
    instrument = Instrument.objects.create(symbol="SPY", name="SPDR S&P 500 ETF", asset_class="etf", exchange="NYSE")
    store_bars(instrument, 60, walk(weekdays(N_DAYS)), "file")
    store_bars(instrument, DAY, walk(START // DAY * DAY + DAY * np.arange(600) - 700 * DAY, 2), "yahoo")
    return instrument


def everything(instrument: Instrument) -> Stream:
    """One row for every card, long words included."""
    moment = datetime.fromtimestamp(START, UTC)
    stream = Stream.objects.create(
        name="spy-replay", interval_seconds=60, from_time=moment, bars_per_second=100 / 60,
        to_time=datetime.fromtimestamp(START + 2 * DAY, UTC), cursor=datetime.fromtimestamp(START + 200 * 60, UTC),
        desired_state="running", state="running", applied_version=1,
    )  # fmt: skip
    stream.instruments.add(instrument)
    DataFault.objects.create(
        instrument=instrument, interval_seconds=60, kind="gaps", severity="blocking", first_time=moment,
        detail="14 minutes are missing on 2020-01-20, the longest stretch is 6 minutes",
    )  # fmt: skip
    found = DataImport.objects.create(
        instrument=instrument, name="a_file_with_quite_a_long_name_1min.csv", source="file", sha256="a" * 64,
        n_good=1_234_567, n_bad=1, problems=[{"row": 1882, "reason": "high 126.10 is below low 126.40"}],
    )  # fmt: skip
    now = datetime.now(UTC)
    job = {"instrument": instrument, "desired_state": "running", "applied_version": 1}
    Fetch.objects.create(**job, source="yahoo", state="running", done=0.37, n_rows=2100, n_stored=2100)
    Fetch.objects.create(
        **job, source="file", state="finished", ended_at=now, n_bad=1, n_stored=1_234_567, data_import=found,
        options={"name": found.name},
    )  # fmt: skip
    Fetch.objects.create(
        **job, source="yahoo", state="failed", ended_at=now,
        state_reason="Yahoo has no minutes older than 30 days: ask for a later start, or for 1 hour bars",
    )  # fmt: skip
    return stream


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_clean_empty_and_full(visit, spy, width, theme):
    Instrument.objects.create(symbol="NQ", name="E-mini Nasdaq 100 future", asset_class="future")
    everything(spy)
    window = visit(factories.operator(), width)
    window.context.add_cookies([{"name": "theme", "value": theme, "url": window.server.address}])
    wrong = look(window, f"data-{theme}", "/data/SPY/?with=ema_10,ema_50,rsi,macd")
    wrong += look(window, f"data-empty-{theme}", "/data/NQ/")
    wrong += look(window, f"data-new-stream-{theme}", "/data/streams/new/?symbol=SPY")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("width", WIDTHS)
def test_one_can_zoom_out_over_all_data_and_back(visit, spy, width):
    window = visit(factories.operator(), width)
    window.go("/data/SPY/")
    page = window.page
    last = page.evaluate(f"{HELD}.answer.last")
    box = page.locator("#data-chart").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 150)
    for _ in range(60):
        page.mouse.wheel(0, 100)
        page.wait_for_timeout(40)
    window.wait_until(f"{HELD}.answer.length > 60 && {HELD}.bars[0][0] === {START}")
    # Merged bars hold everything, and the end stayed where it was.
    assert page.evaluate(f"{HELD}.bars.length") <= 2000
    assert abs(page.evaluate(f"{HELD}.timeAt({HELD}.bars.length - 1)") - last) < page.evaluate(f"{HELD}.answer.length")
    assert "merged to" in page.evaluate(SHOWN) and "15,600" in page.evaluate(SHOWN)
    for _ in range(60):
        page.mouse.wheel(0, -100)
        page.wait_for_timeout(40)
    window.wait_until(f"{HELD}.answer.length === 60")
    assert not window.troubles


def drag(page, n: int, pause: int = 80) -> None:
    """Pull the chart to the right, n times."""
    box = page.locator("#data-chart").bounding_box()
    for _ in range(n):
        page.mouse.move(box["x"] + 60, box["y"] + 150)
        page.mouse.down()
        page.mouse.move(box["x"] + 700, box["y"] + 150, steps=4)
        page.mouse.up()
        page.wait_for_timeout(pause)


def test_finer_bars_come_without_a_jump(visit, spy):
    window = visit(factories.operator())
    window.go("/data/SPY/")
    page = window.page
    page.click("[data-everything]")
    window.wait_until(f"{HELD}.answer.length > 60")
    drag(page, 1, pause=400)  # with the newest bar out of sight the wheel zooms around the pointer
    box = page.locator("#data-chart").bounding_box()
    page.mouse.move(box["x"] + 16 + 500, box["y"] + 150)
    under = f"{HELD}.timeAt({HELD}.scale.coordinateToLogical(500))"
    page.mouse.wheel(0, -100)
    page.wait_for_timeout(400)
    before, span = page.evaluate(under), page.evaluate(f"{HELD}.answer.length")
    for _ in range(60):
        page.mouse.wheel(0, -100)
        page.wait_for_timeout(60)
    window.wait_until(f"{HELD}.answer.length === 60")
    # From a quarter of an hour a bar to a minute a bar: what lies under the pointer moved by less than two bars.
    assert abs(page.evaluate(under) - before) <= 2 * span


def test_dragging_brings_older_bars_over_the_weekend(visit, spy):
    window = visit(factories.operator())
    window.go("/data/SPY/")
    page = window.page
    first = page.evaluate(f"{HELD}.bars[0][0]")
    box = page.locator("#data-chart").bounding_box()
    page.mouse.move(box["x"] + 400, box["y"] + 150)
    for _ in range(8):
        page.mouse.wheel(0, 100)
        page.wait_for_timeout(40)
    drag(page, 16)
    window.wait_until(f"{HELD}.bars[0][0] < {first} - 3 * 86400")
    window.wait_until(f"{HELD}.wants() === '' && {HELD}.busy === null")
    assert page.evaluate(f"{HELD}.answer.length") == 60
    page.click("[data-newest]")
    window.wait_until(f"{HELD}.bars.at(-1)[0] === {HELD}.answer.last")
    assert not window.troubles


@pytest.mark.parametrize("width", WIDTHS)
def test_the_interval_is_switched_where_one_looks(visit, spy, width):
    window = visit(factories.operator(), width)
    window.go("/data/SPY/")
    page = window.page
    page.click("[data-interval='3600']")
    window.wait_until(f"{HELD}.answer.interval === 3600")
    assert "made of 15,600 of 1 min" in page.evaluate(SHOWN)
    page.click("[data-interval='86400']")
    window.wait_until(f"{HELD}.answer.interval === 86400")
    assert "interval=86400" in page.url and page.locator("[data-interval='86400'][aria-current]").count() == 1
    page.reload()
    assert page.evaluate(f"{HELD}.answer.interval") == 86400
    assert not window.troubles


@pytest.mark.parametrize("width", WIDTHS)
def test_indicators_are_chosen_and_taken_off(visit, spy, width):
    window = visit(factories.operator(), width)
    window.go("/data/SPY/?with=ema_10")
    page = window.page
    drawn = f"[...{HELD}.view.drawn.keys()].join()"
    assert page.evaluate(drawn) == "ema_10"
    page.click("#indicators summary")
    page.fill("#indicator-filter", "rsi")
    page.locator("#indicators label:visible", has_text="RSI").first.click()
    window.wait_until(f"{drawn} === 'ema_10,rsi'")
    assert page.evaluate(f"{HELD}.view.chart.panes().length") == 2
    page.keyboard.press("Escape")
    page.locator(".chip", has_text="RSI").click()
    window.wait_until(f"{drawn} === 'ema_10' && {HELD}.view.chart.panes().length === 1")
    assert not window.troubles


def test_the_crosshair_tells_the_bar_under_it(visit, spy):
    window = visit(factories.operator())
    window.go("/data/SPY/?with=ema_10")
    page = window.page
    box = page.locator("#data-chart").bounding_box()
    newest = page.inner_text("[data-legend]")
    page.mouse.move(box["x"] + 200, box["y"] + 150)
    page.wait_for_timeout(200)
    assert page.inner_text("[data-legend]") != newest and "EMA 10" in page.inner_text("[data-legend]")


@pytest.mark.parametrize("width", WIDTHS)
def test_a_new_bar_is_patched_in_and_nothing_is_drawn_anew(visit, spy, width):
    window = visit(factories.operator(), width)
    window.go("/data/SPY/?with=ema_10")
    page = window.page
    page.wait_for_timeout(700)
    n, last = page.evaluate(f"{HELD}.bars.length"), page.evaluate(f"{HELD}.answer.last")
    page.evaluate(f"window.untouched = {HELD}.view.price")
    bar = BarSeries(np.array([last + 60]), *(np.array([price]) for price in (120.0, 121.0, 119.0, 120.5, 7.0)))
    store_bars(spy, 60, bar, "file")
    notify("bar", instrument=spy.pk)
    window.wait_until(f"{HELD}.bars.length === {n + 1}")
    assert page.inner_text("[data-quote]") == "120.50" and page.evaluate(f"{HELD}.view.price === window.untouched")
    assert page.evaluate(f"{HELD}.view.drawn.get('ema_10').values['EMA 10'].at(-1)") > 0
    assert not window.troubles


@pytest.mark.parametrize("width", WIDTHS)
def test_a_replay_is_made_and_the_chart_follows_it(visit, spy, width):
    window = visit(factories.operator(), width)
    window.go("/data/SPY/")
    page = window.page
    page.click("#stream-new")
    page.fill("dialog[open] #id_name", "again")
    page.fill("dialog[open] #id_start", "2020-01-06")
    page.fill("dialog[open] #id_end", "2020-01-08")
    page.click("dialog[open] button.primary")
    page.wait_for_selector("#panel-data-streams article")
    stream = Stream.objects.get(name="again")
    assert stream.desired_state == "running"
    page.click("#panel-data-streams a.name")
    page.wait_for_selector(".badge.replay >> nth=0")
    page.wait_for_timeout(700)
    for minute in (30, 31, 32):
        publish(stream, minute)
        window.wait_until(f"{HELD}.bars.at(-1)?.[0] === {START + minute * 60}")
    assert page.evaluate(f"{HELD}.bars.length") == 33
    page.click("#panel-data-streams .seg button:has-text('1000')")
    page.wait_for_selector(".toast.success >> nth=-1")
    assert Stream.objects.get(name="again").bars_per_second == pytest.approx(1000 / 60)
    assert not window.troubles


def publish(stream: Stream, minute: int) -> None:
    """What the stream's own process does for every bar."""
    Stream.objects.filter(pk=stream.pk).update(
        cursor=datetime.fromtimestamp(START + minute * 60, UTC), state="running", applied_version=1
    )
    for instrument in stream.instruments.values_list("pk", flat=True):
        notify("bar", instrument=instrument, stream=stream.pk)


@pytest.mark.parametrize("width", WIDTHS)
def test_an_instrument_is_searched_and_added(visit, spy, width):
    Instrument.objects.create(symbol="QQQ", name="Invesco QQQ Trust", asset_class="etf")
    window = visit(factories.operator(), width)
    window.go("/data/SPY/")
    page = window.page
    page.fill("#finder", "invesco")
    assert page.locator("#panel-data-instruments tbody tr:visible").all_inner_texts()[0].startswith("QQQ")
    assert page.locator("#panel-data-instruments tbody tr:visible").count() == 1
    page.click("#instrument-new")
    page.fill("dialog[open] #id_symbol", "spy")
    page.fill("dialog[open] #id_name", "again")
    page.click("dialog[open] button.primary")
    page.wait_for_selector("dialog[open] .error:has-text('SPY is here already')")
    # The browser itself writes one line about an answer that is not 2xx.
    assert [line for line in window.troubles if "422" not in line] == []
    assert window.findings() == []
    page.fill("dialog[open] #id_symbol", "iwm")
    page.click("dialog[open] button.primary")
    page.wait_for_url("**/data/IWM/")
    assert "No bars of IWM yet" in page.inner_text("main")


@pytest.mark.parametrize("width", WIDTHS)
def test_a_file_is_looked_into_and_imported(visit, spy, width, tmp_path):
    path = tmp_path / "bars.csv"
    rows = [f"2020-03-09T14:{minute}:00Z,100,102,99,101,5" for minute in range(10, 60)]
    path.write_text("\n".join(["time,open,high,low,close,volume", *rows, "2020-03-09T15:00:00Z,100,90,99,101,5"]))
    window = visit(factories.operator(), width)
    window.go("/data/SPY/")
    page = window.page
    page.click("#import-new")
    page.set_input_files("dialog[open] input[type=file]", path)
    page.click("dialog[open] button.primary")
    page.wait_for_selector("dialog[open] .columns")
    assert "51 rows" in page.inner_text("dialog[open]") and "would be left out" in page.inner_text("dialog[open]")
    window.shoot("data-preview")
    assert window.findings() == []
    page.click("dialog[open] button.primary")
    page.wait_for_selector("#panel-data-fetches article:has-text('bars.csv')")
    assert Fetch.objects.get().options["name"] == "bars.csv"
    assert page.locator("dialog[open]").count() == 0 and not window.troubles


def test_a_fault_is_shown_on_the_chart_and_cleared_with_a_reason(visit, spy):
    everything(spy)
    window = visit(factories.operator())
    window.go("/data/SPY/?interval=86400")
    page = window.page
    page.click("[data-show-at]")
    window.wait_until(f"{HELD}.answer.interval === 60 && {HELD}.bars[0][0] === {START}")
    page.click("#panel-data-faults a:has-text('Clear')")
    page.fill("dialog[open] input[name=reason]", "the exchange was closed")
    page.keyboard.press("Enter")
    page.wait_for_selector("#panel-data-faults article", state="detached")
    assert DataFault.objects.get().clear_reason == "the exchange was closed"
    assert not window.troubles


def test_escape_closes_a_dialog_and_gives_the_focus_back(visit, spy):
    window = visit(factories.operator())
    window.go("/data/SPY/")
    window.page.focus("#fetch-new")
    window.page.keyboard.press("Enter")
    window.page.wait_for_selector("dialog[open]")
    window.page.keyboard.press("Escape")
    assert window.page.evaluate("document.activeElement.id") == "fetch-new"


def test_without_scripts_the_forms_are_pages(visit, spy):
    window = visit(factories.operator(), java_script_enabled=False)
    window.go("/data/SPY/")
    window.page.click("#instrument-new")
    window.page.fill("#id_symbol", "IWM")
    window.page.fill("#id_name", "Russell 2000")
    window.page.click("main button.primary")
    window.page.wait_for_url("**/data/IWM/")
    assert "IWM was added" in window.page.inner_text("body")


def test_somebody_who_only_looks_sees_no_buttons(visit, spy):
    everything(spy)
    window = visit(factories.viewer(), 390)
    assert look(window, "data-viewer", "/data/SPY/") == []
    assert window.page.locator("[data-load-dialog]").count() == 0
