"""Explorers without a kernel: one HTML file each, with what networks made of a few pictures; it asks no server for anything."""

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from srlib.core.errors import SRError
from srlib.core.files import atomic_write
from srlib.core.protocols import Protocol
from srlib.draw.viewer import SCRIPT

LARGEST = 4_000_000  # bytes of a page
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1180px;margin:1.5em auto;padding:0 1em;color:#222;background:#fff}
#controls{display:flex;flex-wrap:wrap;gap:8px 20px;margin:1em 0;align-items:center}
#controls label{display:inline-flex;gap:6px;align-items:center} output{min-width:3em}
@media (prefers-color-scheme:dark){body{color:#ddd;background:#181818} a{color:#8ab4f8}}
"""


def png(image: np.ndarray) -> str:
    """Return a uint8 image `(H, W)` or `(H, W, 3)` as a data URL."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


def floats(values: np.ndarray, dtype: type = np.float32) -> str:
    """Return an array as base64 of its little-endian bytes, which `numbers` of page.js reads."""
    return base64.b64encode(np.ascontiguousarray(values, np.dtype(dtype).newbyteorder("<")).tobytes()).decode()


@dataclass(frozen=True)
class Page:
    """An explorer as a page.

    title, intro: plain text. controls: `name`, `label`, `kind` ("range" with `min`, `max`, `step`; "steps" or "choice" with
    `options`; "switch") and `value` of each. scenes: what is stored of each picture, by its name. script: of the paper, which
    defines `compose` (see page.js).
    """

    title: str
    intro: str
    controls: Sequence[Mapping]
    scenes: Mapping[str, Mapping]
    script: Path


def write(file: Path, page: Page, protocol: Protocol) -> None:
    """Write a page, whose PSNR in view has the colours of a protocol; raises SRError for one above `LARGEST` bytes."""
    colors = "luma" if protocol.color == "y" else "RGB"
    legend = f"PSNR in view on {colors}, no border left out"
    viewer = {"color": protocol.color, "rounded": protocol.round_y, "legend": legend}
    data = json.dumps({"controls": list(page.controls), "scenes": dict(page.scenes), "viewer": viewer}).replace("</", "<\\/")
    code = [path.read_text() for path in (SCRIPT, Path(__file__).with_name("page.js"), page.script)]
    code[0] = code[0].replace("export function", "function").partition("export default")[0]
    name = html.escape(page.title)
    text = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{name}</title><style>{STYLE}</style></head><body>
<h1>{name}</h1><p>{html.escape(page.intro)}</p>
<div id="controls"></div><div id="viewer"></div>
<noscript>This page computes its pictures in the browser, with JavaScript.</noscript>
<script type="module">
{"".join(code)}
explore({data}, compose);
</script></body></html>
"""
    if len(text) > LARGEST:
        raise SRError(f"{file.name} would have {len(text):,} bytes, more than {LARGEST:,}; store fewer or smaller pictures")
    atomic_write(file, text)
