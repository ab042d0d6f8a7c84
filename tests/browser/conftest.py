"""A browser for the tests of figures and pages; without one they are skipped, with a reason."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from built_site import ROOT, SITE

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = Path(os.environ.get("AXE_CORE", ROOT / "_build/browser/node_modules/axe-core/axe.min.js"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("playwright is not installed: pip install -c constraints.txt playwright")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here: install it with the system's package manager")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def axe() -> str:
    if not AXE.exists():
        pytest.skip(f"axe-core is not at {AXE}: npm install --prefix _build/browser axe-core")
    return AXE.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Path:
    """The demonstration pages; they depend on the browser, so that nothing is computed in vain."""
    spec = importlib.util.spec_from_file_location("demo", Path(__file__).with_name("demo.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("demo")
    module.write(folder)
    return folder


class Shown:
    """A page that remembers what went wrong in it: errors, and requests that leave its folder."""

    def __init__(self, browser: Any, address: str, formulas: bool = True, **context: Any) -> None:
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        if not formulas:
            self.page.route("**/mathjax/*.js*", lambda route: route.fulfill(body=""))
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("console", self._console)
        self.page.on("request", self._request)
        self.page.goto(address)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text}")

    def _request(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "about:")):
            self.problems.append(f"request: {request.url}")


@pytest.fixture
def opener(browser: Any) -> Iterator[Any]:
    """`opener(address, width, theme, **context)` opens a page, and closes it after the test."""
    opened: list[Shown] = []

    def open_page(address: str, width: int = 1440, theme: str = "light", **context: Any) -> Shown:
        size = {"width": width, "height": 900}
        shown = Shown(browser, address, viewport=size, **context)
        opened.append(shown)
        if context.get("java_script_enabled", True):
            shown.page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
            shown.page.wait_for_timeout(50)
        return shown

    yield open_page
    for shown in opened:
        shown.context.close()


@pytest.fixture
def show(opener: Any, demo: Path) -> Any:
    """`show(width=390, theme="dark", name="index.html", **context)` opens a page of the demo."""

    def open_demo(
        width: int = 1440, theme: str = "light", name: str = "index.html", **context: Any
    ) -> Shown:
        return opener((demo / name).as_uri(), width, theme, **context)

    return open_demo


@pytest.fixture
def visit(opener: Any) -> Any:
    """`visit("tour", width=390, theme="dark")` opens a page of the built site.

    Its formulas are drawn, unless `formulas=False` says that a test does not look at them: that is
    most of the work of opening a page. Other arguments are the browser's. The page's figures stand
    in elements with the ids figure-0, figure-1, ...
    """

    def open_page(name: str, width: int = 1440, theme: str = "light", **context: Any) -> Shown:
        path = SITE / "book" / f"{name}.html"
        if not path.exists():
            pytest.skip(f"there is no page {path}: build the site with `make book`")
        shown = opener(path.as_uri(), width, theme, **context)
        if context.get("formulas", True):
            shown.page.evaluate("window.MathJax?.startup?.promise")
            shown.page.wait_for_timeout(200)  # the page's own script measures the drawn formulas
        shown.page.evaluate(
            "document.querySelectorAll('.ntp-interactive').forEach("
            "(figure, k) => { figure.parentElement.id = `figure-${k}`; })"
        )
        return shown

    return open_page
