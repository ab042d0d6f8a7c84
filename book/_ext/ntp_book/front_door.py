"""What stands at the door of the site: its root, the page for a wrong address, the list of pages.

index.html   leads to the first page, and says for search engines and shared links what the book is
404.html     what GitHub Pages shows for an address that does not exist; it names the ways back
sitemap.xml  all pages, for search engines; only with a published address, which it must name
"""

from __future__ import annotations

import html
from pathlib import Path
from xml.sax.saxutils import escape

from sphinx.application import Sphinx
from sphinx_external_toc.parsing import parse_toc_yaml

from .addresses import Addresses, addresses
from .site import PICTURE, description

STYLE = (
    "body { font: 18px/1.5 system-ui, sans-serif; margin: 20vh auto; max-width: 34rem; "
    "padding: 0 1rem; color-scheme: light dark; }"
)


def head(title: str, extra: str = "") -> str:
    """Return the beginning of a page that needs no other file."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n{extra}<style>{STYLE}</style>\n</head>\n"
    )


def root_page(title: str, said: str, first: str, found: Addresses) -> str:
    """Return the root of the site: it leads to the first page, of which `said` says what it is."""
    text = html.escape(said)
    lines = [
        f'<meta http-equiv="refresh" content="0; url={first}">',
        f'<meta name="description" content="{text}">',
        '<meta property="og:type" content="book">',
        f'<meta property="og:title" content="{html.escape(title)}">',
        f'<meta property="og:description" content="{text}">',
    ]
    if found.real:
        lines += [
            f'<link rel="canonical" href="{found.site}{first}">',
            f'<meta property="og:url" content="{found.site}{first}">',
            f'<meta property="og:image" content="{found.site}{PICTURE}">',
        ]
    body = f'<body>\n<p><a href="{first}">{html.escape(title)}</a></p>\n</body>\n</html>\n'
    return head(title, "\n".join(lines) + "\n") + body


def missing_page(title: str, first: str, found: Addresses) -> str:
    """Return the page for a wrong address; it is shown at any depth, so links are full ones."""
    base = found.site if found.real else ""
    body = (
        "<body>\n<h1>There is no such page</h1>\n"
        "<p>Chapters are named by their subjects; perhaps this one has got another name.</p>\n"
        f'<ul>\n<li><a href="{base}{first}">{html.escape(title)}</a>, the first page</li>\n'
        f'<li><a href="{base}search.html">Search the book</a></li>\n</ul>\n</body>\n</html>\n'
    )
    return head(f"No such page: {title}", '<meta name="robots" content="noindex">\n') + body


def sitemap(pages: list[str], found: Addresses) -> str:
    """Return the list of all pages with their full addresses."""
    urls = "\n".join(f"<url><loc>{escape(found.site + page)}</loc></url>" for page in pages)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{urls}\n</urlset>\n'
    )


def write(app: Sphinx, error: Exception | None) -> None:
    """Write the three files beside the pages. Jupyter Book leaves an index.html that is there."""
    if error is not None or app.builder.name != "html":
        return
    folder = Path(app.outdir)
    found = addresses(app.config)
    first = f"{app.config.root_doc}.html"
    title = app.config.html_title
    said = description(app.env.get_doctree(app.config.root_doc))
    (folder / "index.html").write_text(root_page(title, said, first, found), encoding="utf-8")
    (folder / "404.html").write_text(missing_page(title, first, found), encoding="utf-8")
    (folder / "sitemap.xml").unlink(missing_ok=True)
    if found.real:
        site_map = parse_toc_yaml(Path(app.srcdir) / "_toc.yml")
        pages = [f"{page}.html" for page in site_map if page in app.env.found_docs]
        (folder / "sitemap.xml").write_text(sitemap(pages, found), encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Register with Sphinx."""
    app.connect("build-finished", write)
