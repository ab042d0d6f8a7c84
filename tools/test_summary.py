"""Say how many tests and how many notebook cells ran: the last line of `make test`.

Fails when there were none, which a green run would otherwise hide.
"""

import sys
import xml.etree.ElementTree as ET


def counts(path: str) -> tuple[int, int, int, int]:
    """Return how many test cases ran, failed or broke, were skipped, and from how many files."""
    cases = list(ET.parse(path).iter("testcase"))
    failed = sum(any(child.tag in ("failure", "error") for child in case) for case in cases)
    skipped = sum(case.find("skipped") is not None for case in cases)
    files = len({case.get("classname", "") for case in cases})
    return len(cases) - skipped, failed, skipped, files


def main(unit_tests: str, notebook_cells: str) -> int:
    """Print one line for each report and return the exit status."""
    status = 0
    for path, what in ((unit_tests, "unit tests"), (notebook_cells, "notebook cells")):
        try:
            ran, failed, skipped, files = counts(path)
        except (OSError, ET.ParseError) as error:
            print(f"{what}: no report ({error})")
            status = 1
            continue
        place = f" in {files} notebooks" if what == "notebook cells" else ""
        print(f"{what}: {ran} ran{place}, {failed} failed, {skipped} skipped")
        status |= int(ran == 0 or failed > 0)
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
