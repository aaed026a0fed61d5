"""The built site as the browser tests see it: its pages, and what goes wrong on a visit."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or ""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WORK_WITHOUT_A_HOST = ("data:", "blob:", "about:")


def missing(what: str) -> None:
    """A test that cannot run: a failure in CI, a skip with its reason elsewhere."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}, and in CI nothing may be skipped")
    pytest.skip(what)


@dataclass
class Visit:
    """A page in the browser, and what went wrong on it."""

    page: Page
    site: str
    errors: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)

    def open(self, path: str) -> Page:
        page = self.page
        page.on("console", lambda m: self._note(f"console: {m.text}", m.type == "error"))
        page.on("pageerror", lambda e: self._note(f"exception: {e}"))
        page.on("requestfailed", lambda r: self._note(f"failed: {r.url}"))
        page.on("response", lambda r: self._note(f"{r.status}: {r.url}", r.status >= 400))
        page.on("request", lambda r: self._note(f"off-host: {r.url}", self._is_foreign(r.url)))
        page.on("requestfinished", self._measure)
        page.goto(self.site + path, wait_until="networkidle")
        page.evaluate("window.MathJax?.startup?.promise")
        return page

    def _is_foreign(self, url: str) -> bool:
        return not url.startswith((self.site, *WORK_WITHOUT_A_HOST))

    def _note(self, what: str, wrong: bool = True) -> None:
        if wrong:
            self.errors.append(what)

    def _measure(self, request: Request) -> None:
        url = request.url.split("#")[0]
        file = HTML / url.removeprefix(self.site).split("?")[0]
        if url.startswith(self.site) and file.is_file():
            self.sizes[url.removeprefix(self.site)] = file.stat().st_size


def pages() -> list[str]:
    """Every page of the book, as paths below the site's root; decks and the search aside."""
    found = [p.relative_to(HTML).as_posix() for p in HTML.rglob("*.html")]
    return sorted(p for p in found if not p.startswith(("_static/", "slides/")))


def decks() -> list[str]:
    return sorted(p.relative_to(HTML).as_posix() for p in HTML.glob("slides/*.html"))


def widget_pages() -> list[str]:
    mark = "application/vnd.jupyter.widget-view+json"
    return [p for p in pages() if mark in (HTML / p).read_text(encoding="utf-8")]
