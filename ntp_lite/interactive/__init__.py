"""Interactive figures: drawn in the reader's browser from numbers that a cell has computed.

    from ntp_lite import interactive
    interactive.Frames(alt="...", sliders=[...], panels=[...], says=[...])   # last line of a cell

There are three kinds of figure. `Frames` shows linked panels (`Points`, `Pairs`, `Lines`, `Bars`,
`HeatMap`, `Solid`) over states that lie along one or two sliders, or over one state that does not
move. `Handles` lets the reader drag numbers and evaluates a named formula in the browser, the same
as in `COMPUTATIONS`. `TextCounts` counts what the reader types.

**One mechanism everywhere.** The output of a cell is HTML that is complete without script: text, a
still picture of each panel with its alternative text, and the data as JSON.
`browser/ntp_interactive.js` replaces the stills by live drawings of the same size. The output
carries style and scripts with it (`d3.min.js`, 66 kB, and the figures' own; see
`browser/README.md`), so it works in Jupyter, JupyterLab, VS Code and in Colab's frames without a
network; the site takes them out (`without_library`) and loads them once for each page. Ink and
ground are the page's own.

**For everyone.** Sliders are native range inputs, and every drag can be done with one; a sentence
for each state is shown and spoken; "The numbers" unfolds a table; with reduced motion nothing
glides.
"""

from ._computations import COMPUTATIONS
from ._figures import SCRIPTS, STYLES, Figure, Frames, Handles, Slider, TextCounts, without_library
from ._numbers import number
from ._panels import Bars, HeatMap, Lines, Pairs, Panel, Points, Solid

__all__ = [
    "COMPUTATIONS",
    "SCRIPTS",
    "STYLES",
    "Bars",
    "Figure",
    "Frames",
    "Handles",
    "HeatMap",
    "Lines",
    "Pairs",
    "Panel",
    "Points",
    "Slider",
    "Solid",
    "TextCounts",
    "number",
    "without_library",
]
