"""A real server process on the test database, and a browser that looks at it."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connections
from django.test import Client

PROJECT = Path(__file__).resolve().parents[2]
SHOTS = PROJECT / "test-results" / "screens"
FLAGS = [
    "--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--disable-quic", "--disable-gpu",
]  # fmt: skip


@dataclass
class Server:
    """A uvicorn process that can be killed and started again on its port."""

    port: int
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start and wait until it answers."""
        command = [sys.executable, "-m", "uvicorn", "tradingsite.asgi:application", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, "--lifespan", "on", "--log-level", "warning", "--timeout-graceful-shutdown", "1"],
            env=self.environment,
            cwd=PROJECT,
        )
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{self.address}/login/", timeout=2).close()
                return
            except OSError:
                assert self.process.poll() is None, "the server ended while starting"
                time.sleep(0.1)
        raise AssertionError("the server did not answer within 30 s")

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(15)


@pytest.fixture(scope="package")
def browser():
    """Headless Chromium; without it these tests skip."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is not installed (apt-get install chromium), so pages cannot be looked at")
    from playwright.sync_api import sync_playwright

    # Playwright keeps an event loop in this thread, which Django would take for async code.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield running
        running.close()
    os.environ.pop("DJANGO_ALLOW_ASYNC_UNSAFE")


@pytest.fixture(scope="package")
def server(browser, django_db_setup, tmp_path_factory) -> Iterator[Server]:
    """The desk's web process as it runs in production: collected, hashed and compressed static files."""
    local = tmp_path_factory.mktemp("desk")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    database = connections["default"].settings_dict
    url = "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**database)
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "DESK_LOCAL_DIR": str(local),
        "DESK_SECRET_KEY": settings.SECRET_KEY,
        "DESK_DEBUG": "0",
    }
    collect = [sys.executable, "manage.py", "collectstatic", "--no-input", "--verbosity", "0", "--skip-checks"]
    subprocess.run(collect, cwd=PROJECT, env=environment, check=True)
    running = Server(port, environment)
    running.start()
    yield running
    running.stop()


class Visitor:
    """A signed-in browser window that remembers what went wrong."""

    def __init__(self, browser, server: Server, user, width: int, **options: object) -> None:
        self.server, self.width = server, width
        self.context = browser.new_context(viewport={"width": width, "height": 1000 if width > 720 else 844}, **options)
        if user is not None:
            client = Client()
            client.force_login(user)
            self.context.add_cookies(
                [{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": server.address}]
            )
        self.page = self.context.new_page()
        self.page.set_default_timeout(8000)
        self.troubles: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("request", self._request)

    def _console(self, message) -> None:
        if message.type == "error":
            self.troubles.append(message.text)

    def _request(self, request) -> None:
        if not request.url.startswith((self.server.address, "data:")):
            self.troubles.append(f"a request left for {request.url}")

    def go(self, path: str) -> None:
        """Open a page and let its scripts finish."""
        self.page.goto(self.server.address + path, wait_until="load")
        self.page.wait_for_timeout(300)

    def wait_until(self, expression: str, seconds: float = 8.0) -> None:
        """Poll; Playwright's own waiting evaluates strings in the page, which the content policy forbids."""
        until = time.monotonic() + seconds
        while not self.page.evaluate(expression):
            assert time.monotonic() < until, f"still not true after {seconds} s: {expression}"
            self.page.wait_for_timeout(100)

    def shoot(self, name: str) -> None:
        """Keep a picture of the whole page."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}-{self.width}.png", full_page=True)

    def findings(self) -> list[str]:
        """Serious and critical findings of axe-core, each with the element it is about."""
        axe = (Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js").read_text()
        self.page.evaluate(axe)
        result = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{violation['id']}: {node['html'][:160]}"
            for violation in result["violations"]
            if violation["impact"] in ("serious", "critical")
            for node in violation["nodes"]
        ]


@pytest.fixture
def visit(browser, server, transactional_db):
    """Open windows: visit(user, width)."""
    opened: list[Visitor] = []

    def open_window(user, width: int = 1440, **options: object) -> Visitor:
        opened.append(Visitor(browser, server, user, width, **options))
        return opened[-1]

    yield open_window
    for window in opened:
        window.context.close()
