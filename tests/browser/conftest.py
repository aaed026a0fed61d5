"""A browser, and the built site served on this machine, for the tests of the site."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from built_site import CHROMIUM, FLAGS, HTML, Visit, decks, missing, pages, widget_pages
from playwright.sync_api import Browser, sync_playwright


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # a page asks for dozens of files at once


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The address of the built site, with a slash at its end."""
    if not (HTML / "index.html").exists():
        missing("the site is not built (make book)")
    server = Server(("127.0.0.1", 0), partial(QuietHandler, directory=str(HTML)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).is_file():
        missing("no Chromium was found (apt-get install chromium, or name one in CHROMIUM)")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Browser, site: str, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A fresh page; parametrize indirectly with the options of a browser context."""
    options = getattr(request, "param", {})
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    yield Visit(context.new_page(), site)
    context.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`path` is every page, `deck` every deck, `widget_path` every page with a widget."""
    for name, paths in (("path", pages), ("deck", decks), ("widget_path", widget_pages)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, paths() if HTML.exists() else [])
