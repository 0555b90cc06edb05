"""The viewer of the explorers: pictures side by side at one zoom and place, to swipe, blink and subtract.

`viewer.js` draws it, in JupyterLab and Voila through anywidget, and in pages without a kernel by its function `mount`.
"""

from pathlib import Path

import anywidget
import traitlets

SCRIPT = Path(__file__).with_name("viewer.js")


class Viewer(anywidget.AnyWidget):
    """Labelled pictures; the names and meanings of its traits are those of the options in `viewer.js`.

    pictures: dicts with `label`, `png` (the bytes of a file) and optionally `resample` and `unscored`. reference: index of
    the ground truth, -1 for none. color, rounded: of the PSNR of the visible part, in which no border is left out. point:
    `[x, y]` of the chosen pixel, set by a click, or None.
    """

    _esm = SCRIPT
    pictures = traitlets.List(traitlets.Dict()).tag(sync=True)
    reference = traitlets.Int(-1).tag(sync=True)
    color = traitlets.Enum(("y", "rgb"), "y").tag(sync=True)
    rounded = traitlets.Bool(False).tag(sync=True)
    legend = traitlets.Unicode("").tag(sync=True)
    point = traitlets.List(traitlets.Int(), allow_none=True, default_value=None).tag(sync=True)
