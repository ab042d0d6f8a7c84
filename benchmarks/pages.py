"""How heavy are the pages of the site, and how soon does a phone show them complete?

    python benchmarks/pages.py [--site _build/html] [max_margin ...]

Each page is fetched with an empty cache, compressed as GitHub Pages sends it; on a phone over a
slowed-down connection, by a browser whose processor is slowed down fourfold. "formulas" is when
MathJax has drawn the last of them, "worked" how long the page's thread was on a processor until
then, "shift" how much the page moved while it loaded (Cumulative Layout Shift). Without names the
five longest pages are taken. Needs Playwright and the system's Chromium, as `make test-browser`
does. On a busy machine "formulas" is too late; the other numbers are right.
"""

from __future__ import annotations

import argparse
import gzip
import http.server
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

TREE = Path(__file__).resolve().parents[1]
COMPRESSED = {".html", ".js", ".css", ".svg", ".json", ".txt"}
COLUMNS = ("kB", "shift", "worked, s", "formulas, s")
# Sums up the shifts from the very beginning; those just after an input do not count.
WATCH_SHIFTS = """
window.ntpShift = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    if (!entry.hadRecentInput) window.ntpShift += entry.value;
  }
}).observe({type: 'layout-shift', buffered: true});
"""
COMPLETE = """async () => {
  await window.MathJax?.startup?.promise;
  return performance.now() / 1000;
}"""


class Connection(NamedTuple):
    """A device: bits per second down, milliseconds of a round trip, slowdown of the processor."""

    name: str
    bits: float
    latency: float
    slowdown: int


CONNECTIONS = (
    Connection("desktop", 1e9, 0, 1),
    Connection("phone", 9e6, 165, 4),
    Connection("slow phone", 1.6e6, 150, 4),
)


@cache
def compressed(path: Path) -> bytes:
    """Return a file of the site as it is sent."""
    return gzip.compress(path.read_bytes(), 6)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Sends files as GitHub Pages does: text is compressed."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Send a file."""
        path = Path(self.translate_path(self.path))
        if path.suffix not in COMPRESSED or not path.is_file():
            super().do_GET()
            return
        body = compressed(path)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def served(site: Path) -> Iterator[str]:
    """Serve the site on this machine; yield its address."""

    def handler(*arguments: Any) -> Handler:
        return Handler(*arguments, directory=str(site))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def measure(browser: Any, address: str, connection: Connection) -> tuple[dict[str, float], Counter]:
    """Return the numbers of a page, and the bytes that each of its files took."""
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.set_default_timeout(600_000)
    tools = context.new_cdp_session(page)
    weights = weigh(tools)
    speed = {"latency": connection.latency, "downloadThroughput": connection.bits / 8}
    speed |= {"uploadThroughput": connection.bits / 16, "offline": False}
    tools.send("Network.emulateNetworkConditions", speed)
    tools.send("Emulation.setCPUThrottlingRate", {"rate": connection.slowdown})
    # Seconds in which the page's thread was on a processor: what else runs here does not count.
    tools.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.add_init_script(WATCH_SHIFTS)
    page.goto(address)
    complete = page.evaluate(COMPLETE)
    metrics = tools.send("Performance.getMetrics")["metrics"]
    worked = next(one["value"] for one in metrics if one["name"] == "TaskDuration")
    page.wait_for_timeout(1000)  # what the page's own script moves after that
    shift = page.evaluate("window.ntpShift")
    context.close()
    kilobytes = sum(weights.values()) / 1000
    return {"kB": kilobytes, "shift": shift, "worked, s": worked, "formulas, s": complete}, weights


def weigh(tools: Any) -> Counter[str]:
    """Count the bytes of each file that a page fetches, without a cache."""
    names: dict[str, str] = {}
    weights: Counter[str] = Counter()

    def asked(event: Any) -> None:
        names[event["requestId"]] = event["request"]["url"].partition("?")[0].rsplit("/", 1)[-1]

    def came(event: Any) -> None:
        weights[names.get(event["requestId"], "?")] += int(event["encodedDataLength"])

    tools.on("Network.requestWillBeSent", asked)
    tools.on("Network.loadingFinished", came)
    tools.send("Network.enable")
    tools.send("Network.setCacheDisabled", {"cacheDisabled": True})
    return weights


def longest(site: Path, count: int) -> list[str]:
    """Return the names of the pages with the most text."""
    paths = sorted((site / "book").glob("*.html"), key=lambda path: -path.stat().st_size)
    return [path.stem for path in paths[:count]]


def main() -> int:
    """Measure, print a table; return 1 if there is nothing to measure with or on."""
    parser = argparse.ArgumentParser(description="Weigh the pages of the built site.")
    parser.add_argument("pages", nargs="*", help="names of pages; default: the five longest")
    parser.add_argument("--site", type=Path, default=TREE / "_build" / "html")
    parser.add_argument("--quick", action="store_true", help="on the desktop alone")
    parser.add_argument("--files", action="store_true", help="list the heaviest files, too")
    options = parser.parse_args()
    if not (options.site / "book").is_dir():
        print(f"There is no site in {options.site}; run make book first.", file=sys.stderr)
        return 1
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    columns = " | ".join(f"{name:>11}" for name in COLUMNS)
    print(f"| {'page':24} | {'connection':10} | {columns} |")
    with sync_playwright() as playwright, served(options.site) as address:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        for name in options.pages or longest(options.site, 5):
            for connection in CONNECTIONS[: 1 if options.quick else None]:
                found, weights = measure(browser, f"{address}/book/{name}.html", connection)
                values = " | ".join(f"{found[key]:>11.2f}" for key in COLUMNS)
                print(f"| {name:24} | {connection.name:10} | {values} |", flush=True)
            if options.files:
                heaviest = [f"{file} {size / 1000:.0f}" for file, size in weights.most_common(12)]
                print(f"  {', '.join(heaviest)}")
        browser.close()
    print("Goals: at most 1500 kB, a shift of 0.05, 4 s on the phone.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
