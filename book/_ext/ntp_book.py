"""What this book adds to Jupyter Book: stable numbers, an honest cache, buttons, small repairs.

* Chapters are numbered by their file names, so `06_in_support.md` is Chapter 6 and holds
  Theorem 6.1 whether or not a Chapter 5 exists.
* The execution cache is keyed on the package, its data and the pinned versions. Jupyter Book's own
  cache sees only the cells, and would show old numbers after a change in `ntp_lite`.
* A build with warnings forgets what it read, so that the next build reports them again: Sphinx
  would otherwise keep the pages of a failing chapter and pass.
* Colab and download buttons lead to the exported notebooks.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import zlib
from pathlib import Path
from typing import Any

from docutils import nodes
from pybtex.plugin import register_plugin
from pybtex.style.formatting.plain import Style as PlainStyle
from pybtex.style.labels import BaseLabelStyle
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.environment.collectors.toctree import TocTreeCollector
from sphinx_external_toc.collectors import TocTreeCollectorWithStyles

CHAPTER = re.compile(r"(?:^|/)(\d\d)_\w+$")
CACHE = ".jupyter_cache"
CACHED = ("ntp_lite/**/*.py", "ntp_lite/data/*.txt", "constraints.txt")


def chapter_number(docname: str) -> int | None:
    """Return 6 for `book/06_in_support`, None for a page that is not a chapter."""
    match = CHAPTER.search(docname)
    return int(match[1]) if match else None


def repository(config: Config) -> tuple[str, str, bool]:
    """Return the repository's address, the published site's address, and whether both are real."""
    url = config.html_theme_options.get("repository_url", "").rstrip("/")
    owner, name = url.split("/")[-2:]
    return url, f"https://{owner.lower()}.github.io/{name}/", "_" not in owner


def colab_address(config: Config, docname: str) -> str:
    """Return where a chapter's notebook opens in Colab."""
    path = repository(config)[0].removeprefix("https://github.com/")
    branch = config.html_theme_options.get("repository_branch") or "main"
    notebook = f"book/notebooks/{docname.split('/')[-1]}.ipynb"
    return f"https://colab.research.google.com/github/{path}/blob/{branch}/{notebook}"


def execution_key(root: Path) -> str:
    """Return a hash of everything a chapter's output depends on besides its own cells."""
    digest = hashlib.sha256()
    for pattern in CACHED:
        for path in sorted(root.glob(pattern)):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def sources_version() -> int:
    """Return a number that changes with these extensions; what Sphinx remembers depends on them."""
    parts = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    return zlib.crc32(b"\0".join(parts))


def configure(app: Sphinx, config: Config) -> None:
    """Set what `_config.yml` cannot: single theme options and the keyed execution cache."""
    _, site, real = repository(config)
    # Single options, because an `html_theme_options` in _config.yml replaces Jupyter Book's own.
    config.html_theme_options.update(
        use_fullscreen_button=False,
        use_repository_button=real,
        use_issues_button=real,
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
    if real and not config.html_baseurl:
        config.html_baseurl = site
    key = execution_key(Path(app.srcdir))
    config.ntp_execution_key = key
    if config.nb_execution_mode != "off":  # the export executes nothing, and must not depend on it
        config.nb_execution_cache_path = str(Path(app.outdir).parent / CACHE / key)


def disable_thebe(app: Sphinx, config: Config) -> None:
    """Silence an extension that Jupyter Book always loads, and whose scripts no page needs."""
    for listeners in app.events.listeners.values():
        listeners[:] = [x for x in listeners if not x.handler.__module__.startswith("sphinx_thebe")]
    styles = app.registry.css_files  # its own is linked, but no longer copied
    styles[:] = [(name, more) for name, more in styles if "thebe" not in name]


def drop_stale_caches(app: Sphinx) -> None:
    """Delete the caches of earlier states of the package."""
    cache = Path(app.config.nb_execution_cache_path)
    if cache.parent.name == CACHE and cache.parent.is_dir():
        for other in cache.parent.iterdir():
            if other.name != cache.name:
                shutil.rmtree(other, ignore_errors=True)


def number_by_file_name(collector: TocTreeCollector, env: BuildEnvironment) -> list[str]:
    """Replace Sphinx's running section numbers by those in the file names."""
    before = env.toc_secnumbers
    TocTreeCollector.assign_section_numbers(collector, env)
    for docname, numbers in env.toc_secnumbers.items():
        chapter = chapter_number(docname)
        if chapter is None:
            continue
        for anchor, number in numbers.items():
            if number:
                numbers[anchor] = (chapter, *number[1:])
        for node in [*env.tocs[docname].findall(nodes.reference), env.titles[docname]]:
            if node.get("secnumber"):
                node["secnumber"] = [chapter, *node["secnumber"][1:]]
    return [name for name, numbers in env.toc_secnumbers.items() if numbers != before.get(name)]


def tidy_doctree(app: Sphinx, doctree: nodes.document) -> None:
    """Make ids unique that the extensions give to every box: an id may occur once in a page."""
    for node in doctree.findall(nodes.Element):
        if node.get("ids") == ["proof"]:
            node["ids"] = []
            mark_proof(node)
        elif node.get("ids") in (["proof-content"], ["exercise-content"], ["solution-content"]):
            node["ids"] = [f"{i}-content" for i in node.parent["ids"][:1]] or node["ids"]


def mark_proof(node: nodes.Element) -> None:
    """Set "Proof." apart from its text; the class tells a proof from the theorems, in one word."""
    node["classes"].append("is-proof")
    first = node[0][0] if node.children and node[0].children else None
    if isinstance(first, nodes.Text) and first.startswith("Proof. "):
        rest = nodes.Text(" " + first.removeprefix("Proof. "))
        node[0].children[0:1] = [nodes.strong("", "Proof."), rest]
        rest.parent = node[0][0].parent = node[0]


def add_buttons(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Offer the exported notebook of a chapter: open it in Colab, or download it."""
    for group in context.get("header_buttons", []):
        if group.get("label") == "download-buttons" and chapter_number(page):
            group["buttons"] = [
                button
                for button in group["buttons"]
                if button.get("label") != "download-notebook-button"
            ]
            group["buttons"].insert(
                0,
                {
                    "type": "link",
                    "url": context["pathto"](f"notebooks/{page.split('/')[-1]}.ipynb", 1),
                    "text": ".ipynb",
                    "icon": "fas fa-code",
                    "tooltip": "Download this chapter as a notebook",
                    "label": "download-notebook-button",
                },
            )
    if chapter_number(page) is None or "header_buttons" not in context:
        return
    context["header_buttons"].insert(
        0,
        {
            "type": "link",
            "url": colab_address(app.config, page),
            "text": "",
            "icon": "fas fa-rocket",
            "tooltip": "Open this chapter in Colab",
            "label": "colab-button",
        },
    )


def finish(app: Sphinx, error: Exception | None) -> None:
    """After warnings, forget the pages that were read."""
    if error is not None or app._warncount:
        (Path(app.doctreedir) / "environment.pickle").unlink(missing_ok=True)


class AuthorYearLabels(BaseLabelStyle):
    """Label bibliography entries as the text cites them: Zhao et al., 2024."""

    def format_labels(self, sorted_entries: list[Any]) -> Any:
        """Yield one label per entry, with a letter where two would coincide."""
        labels = []
        for entry in sorted_entries:
            people = [" ".join(p.last_names) for p in entry.persons.get("author", [])]
            names = " and ".join(people) if len(people) < 3 else f"{people[0]} et al."
            labels.append(f"{names}, {entry.fields.get('year', 'n.d.')}")
        for i, label in enumerate(labels):
            twins = [j for j, other in enumerate(labels) if other == label]
            yield label + ("abcdefgh"[twins.index(i)] if len(twins) > 1 else "")


class AuthorYearStyle(PlainStyle):
    """The plain style with author-year labels."""

    default_label_style = AuthorYearLabels


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    register_plugin("pybtex.style.formatting", "ntp_author_year", AuthorYearStyle)
    # The collector of Jupyter Book's table of contents, which replaces Sphinx's own.
    TocTreeCollectorWithStyles.assign_section_numbers = number_by_file_name
    app.add_config_value("ntp_execution_key", "", "env")
    app.connect("config-inited", configure)
    app.connect("config-inited", disable_thebe)
    app.connect("builder-inited", drop_stale_caches)
    app.connect("doctree-read", tidy_doctree)
    # After the theme has collected its buttons (its handlers run at 501).
    app.connect("html-page-context", add_buttons, priority=600)
    app.connect("build-finished", finish)
    return {
        "version": "1",
        "env_version": sources_version(),
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
