"""Do the links that leave the book still lead somewhere?

    python -m ntp_book.links [--site _build/html]

Each address of another host is asked for once. What answers with an error, or not at all, is listed
with the pages that name it; then the exit code is 1. A host that refuses programs (401, 403, 429)
is listed, but is no failure.
"""

from __future__ import annotations

import argparse
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bs4 import BeautifulSoup

TREE = Path(__file__).resolve().parents[3]
REFUSALS = {401, 403, 405, 406, 429}
TIMEOUT = 30  # seconds


def outside_links(site: Path) -> dict[str, set[str]]:
    """Return the addresses outside the site, each with the pages that name it."""
    found: dict[str, set[str]] = {}
    for page in sorted((site / "book").glob("*.html")):
        soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        for link in (soup.find("article") or soup).find_all("a", href=True):
            address = str(link["href"]).partition("#")[0]
            if address.startswith(("http://", "https://")):
                found.setdefault(address, set()).add(page.stem)
    return found


def answer(address: str) -> str:
    """Return "" if an address answers, else what it says instead."""
    request = urllib.request.Request(address, headers={"User-Agent": "Mozilla/5.0 (link check)"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT):
            return ""
    except urllib.error.HTTPError as error:
        return f"refuses programs ({error.code})" if error.code in REFUSALS else str(error.code)
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__


def check(links: Mapping[str, set[str]]) -> int:
    """Ask for all addresses, print what is wrong; return the number of failures."""
    failures = 0
    answered = False
    with ThreadPoolExecutor(8) as pool:
        for address, said in zip(links, pool.map(answer, links), strict=True):
            refuses = said.startswith("refuses")
            answered = answered or not said or refuses or said.isdigit()
            if said:
                print(f"{address}: {said} (in {', '.join(sorted(links[address]))})")
                failures += not refuses
    print(f"{len(links)} addresses, {failures} failures")
    if failures and not answered:
        print("Not one of them answered: is there a network?")
    return failures


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the built site; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Check the links that leave the book.")
    parser.add_argument("--site", type=Path, default=TREE / "_build" / "html")
    return int(check(outside_links(parser.parse_args(arguments).site)) > 0)


if __name__ == "__main__":
    raise SystemExit(main())
