"""What is made ready for paper without a browser; tests/browser/test_pdf.py prints.

Seen to fail when marks were left as they are: a machine without emoji printed empty boxes.
"""

from __future__ import annotations

from bs4 import BeautifulSoup
from ntp_book.pdf import unfold


def test_marks_of_the_table_of_execution_are_in_plain_fonts():
    table = "<article><table><tr><td>✅</td><td>❌</td><td>✅ said</td></tr></table></article>"
    article = BeautifulSoup(table, "html.parser").article
    unfold(article)
    assert [cell.get_text() for cell in article.find_all("td")] == ["✓", "✗", "✅ said"]
