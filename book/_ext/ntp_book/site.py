"""The site: theme options, buttons, interactive figures, repairs of what other extensions write.

A build with warnings forgets what it read, so that the next build reports them again: Sphinx would
otherwise keep the pages of a failing chapter and pass.
"""

from __future__ import annotations

import html
import re
import textwrap
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

from .addresses import addresses, colab_address, notebook_name
from .numbering import is_chapter

TREE = Path(__file__).resolve().parents[3]
# Style and scripts of the interactive figures, which each page with such a figure loads once.
BROWSER = TREE / "ntp_lite" / "interactive" / "browser"
# Without it the theme complains in the console of every new reader. Its own setting for this would
# take the colours from readers without script.
AUTOMATIC_MODE = (
    '<script>localStorage.getItem("mode") || localStorage.setItem("mode", "auto");</script>'
)
# Characters of a page's description, and what no sentence of it may have: TeX.
DESCRIPTION_LENGTH = 240
FORMULA = re.compile(r"[\\{}^]")
# Stands beside a shared link; it has to be named by its full address.
PICTURE = "_static/readme.png"

# Ids that sphinx_proof and sphinx_exercise give to the inside of every box.
CONTENT_IDS = (["proof-content"], ["exercise-content"], ["solution-content"])


def configure(app: Sphinx, config: Config) -> None:
    """Set the theme's options that `_config.yml` cannot set one by one.

    An `html_theme_options` there would replace all those that Jupyter Book sets itself.
    """
    found = addresses(config)
    config.html_theme_options.update(
        repository_url=found.repository,
        use_fullscreen_button=False,
        use_repository_button=found.real,
        use_issues_button=found.real,
        show_toc_level=2,
        navbar_persistent=[],
        pygments_light_style="a11y-light",
        pygments_dark_style="a11y-dark",
    )
    config.html_theme_options.setdefault("repository_branch", "main")
    config.html_theme_options["logo"] = {
        "text": config.html_title,
        "image_light": config.html_logo,
        "alt_text": "",
    }
    if found.real and not config.html_baseurl:
        config.html_baseurl = found.site
    config.html_static_path.append(str(BROWSER))
    config.templates_path.append(str(Path(__file__).with_name("templates")))
    config.html_search_scorer = str(Path(__file__).with_name("search_scorer.js"))
    # Hundreds of formulas on a page would each be a stop of the Tab key.
    config.mathjax3_config = {"options": {"menuOptions": {"settings": {"inTabOrder": False}}}}


def tidy_doctree(app: Sphinx, doctree: nodes.document) -> None:
    """Make ids unique that the extensions give to every box: an id may occur once in a page."""
    for node in doctree.findall(nodes.Element):
        if node.get("ids") == ["proof"]:
            node["ids"] = []
            mark_proof(node)
        elif node.get("ids") in CONTENT_IDS:
            node["ids"] = [f"{i}-content" for i in node.parent["ids"][:1]] or node["ids"]
        elif isinstance(node, nodes.table) and has_prose(node):
            node["classes"].append("cards-on-phones")


def has_prose(table: nodes.table) -> bool:
    """Say whether a table is wide and holds sentences or lists: on a phone, rows become cards."""
    columns = next(table.findall(nodes.tgroup))["cols"]
    texts = [entry.astext() for entry in table.findall(nodes.entry)]
    return columns >= 3 and any(len(text.split()) >= 8 or len(text) >= 60 for text in texts)


def mark_proof(node: nodes.Element) -> None:
    """Set "Proof." apart from its text; the class tells a proof from the theorems, in one word."""
    node["classes"].append("is-proof")
    first = node[0][0] if node.children and node[0].children else None
    if isinstance(first, nodes.Text) and first.startswith("Proof. "):
        rest = nodes.Text(" " + first.removeprefix("Proof. "))
        node[0].children[0:1] = [nodes.strong("", "Proof."), rest]
        rest.parent = node[0]
        node[0][0].parent = node[0]


def button(label: str, url: str, icon: str, tooltip: str, text: str = "") -> dict[str, str]:
    """Return a button of the theme's header, in the form its templates read."""
    return {
        "type": "link",
        "label": label,
        "url": url,
        "icon": icon,
        "tooltip": tooltip,
        "text": text,
    }


def add_buttons(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Offer the exported notebook of a chapter: download it, or open it in Colab.

    Colab opens it from the published repository: there is no such button while there is none.
    """
    if "header_buttons" not in context or not is_chapter(app.config, page):
        return
    label = "download-notebook-button"
    download = button(
        label,
        context["pathto"](f"notebooks/{notebook_name(page)}", 1),
        "fas fa-code",
        "Download this chapter as a notebook",
        ".ipynb",
    )
    for group in context["header_buttons"]:
        if group.get("label") == "download-buttons":
            others = [item for item in group["buttons"] if item.get("label") != label]
            group["buttons"] = [download, *others]
    found = addresses(app.config)
    if found.real:
        url = colab_address(found, page)
        colab = button("colab-button", url, "fas fa-rocket", "Open this chapter in Colab")
        context["header_buttons"].insert(0, colab)


def load_interactive_figures(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Load the library of a page's interactive figures once, instead of once with each of them."""
    body = context.get("body", "")
    if 'class="ntp-interactive"' not in body:
        return
    from ntp_lite import interactive  # slow: it brings torch, which most pages do not need

    context["body"] = interactive.without_library(body)
    for name in interactive.STYLES:
        app.add_css_file(name)
    for name in interactive.SCRIPTS:
        app.add_js_file(name, loading_method="defer")


def mend_roles_and_names(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Let a folded cell be called what it says; myst-nb gives all of them one name.

    Entries of the bibliography stand in a list and get the role that belongs there; docutils gives
    them one that is deprecated.
    """
    body = context.get("body", "").replace('role="doc-biblioentry"', 'role="listitem"')
    context["body"] = body.replace('<summary aria-label="Toggle hidden content">', "<summary>")


def describe(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Say in the page's head what it is about: for search engines and for shared links."""
    context["metatags"] = context.get("metatags", "") + AUTOMATIC_MODE
    if doctree is None:
        return
    said = description(doctree)
    tags = {
        "og:type": "article",
        "og:site_name": app.config.html_title,
        "og:title": html.unescape(re.sub(r"<[^>]*>", "", context.get("title", ""))),
        "og:description": said,
    }
    found = addresses(app.config)
    if found.real:
        tags["og:url"] = f"{found.site}{page}.html"
        tags["og:image"] = f"{found.site}{PICTURE}"
    lines = [f'<meta name="description" content="{html.escape(said)}">']
    lines += [
        f'<meta property="{name}" content="{html.escape(text)}">' for name, text in tags.items()
    ]
    context["metatags"] += "\n" + "\n".join(lines)


def description(doctree: nodes.document) -> str:
    """Return a chapter's question, or the first sentences of another page."""
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split()).removeprefix("Question. ")
        if len(text) > 40:
            return first_sentences(text)
    return ""


def first_sentences(text: str) -> str:
    """Return as many whole sentences as a description may have, without those that hold TeX."""
    sentences = re.split(r"(?<=[.?!]) (?=[A-Z])", text)
    first, *others = [one for one in sentences if not FORMULA.search(one)] or sentences
    said = first
    for sentence in others:
        if len(said) + 1 + len(sentence) > DESCRIPTION_LENGTH:
            break
        said = f"{said} {sentence}"
    return textwrap.shorten(said, DESCRIPTION_LENGTH, placeholder=" ...")


def forget_after_warnings(app: Sphinx, error: Exception | None) -> None:
    """After warnings, forget the pages that were read."""
    # Sphinx sets the public `statuscode` only after this event.
    if error is not None or app._warncount:
        (Path(app.doctreedir) / "environment.pickle").unlink(missing_ok=True)


def setup(app: Sphinx) -> None:
    """Register with Sphinx."""
    app.connect("config-inited", configure)
    app.connect("doctree-read", tidy_doctree)
    # After the theme has collected its buttons (its handlers run at 501).
    app.connect("html-page-context", add_buttons, priority=600)
    app.connect("html-page-context", load_interactive_figures)
    app.connect("html-page-context", mend_roles_and_names)
    app.connect("html-page-context", describe)
    app.connect("build-finished", forget_after_warnings)
