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
h1{font-size:1.5em;line-height:1.2;margin:.4em 0} p{margin:.5em 0;max-width:62em}
#controls{display:flex;flex-wrap:wrap;gap:8px 20px;margin:1em 0 .6em;align-items:center}
#controls label{display:inline-flex;flex-wrap:wrap;gap:0 6px;align-items:center} #controls label[hidden]{display:none}
output{min-width:2.6em;white-space:nowrap} output:empty{display:none}
#beside{display:flex;flex-wrap:wrap;gap:4px 28px;align-items:center;margin-bottom:.6em} #texts{flex:1 1 300px}
#figures{display:flex;flex-wrap:wrap;gap:6px 14px;max-width:100%} #figures figure{margin:0;max-width:100%}
#figures figcaption{font-size:12.5px;white-space:pre-line;max-width:380px} #figures canvas{display:block}
#keys{display:flex;flex-wrap:wrap;gap:2px 14px;font-size:13px}
#keys i{display:inline-block;width:12px;height:11px;margin-right:5px;border:1px solid #8888;border-radius:2px}
#about{min-height:3em;margin-top:.5em} #figures:empty,#keys:empty,#about:empty{display:none}
@media (prefers-color-scheme:dark){body{color:#ddd;background:#181818} a{color:#8ab4f8}}
"""


def lossless(image: np.ndarray) -> str:
    """Return a uint8 image `(H, W)` or `(H, W, 3)` as a data URL, which browsers decode to the same pixels."""
    out = io.BytesIO()
    Image.fromarray(image).convert("RGB").save(out, format="WEBP", lossless=True)
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"


def numbers(values: np.ndarray, dtype: type = np.float32) -> str:
    """Return an array as base64 of its little-endian bytes, which `numbers` of page.js reads."""
    return base64.b64encode(np.ascontiguousarray(values, np.dtype(dtype).newbyteorder("<")).tobytes()).decode()


@dataclass(frozen=True)
class Page:
    """An explorer as a page.

    title, intro: plain text. controls: `name`, `label`, `kind` ("range" with `min`, `max`, `step`; "steps" or "choice" with
    `options`; "switch") and `value` of each, and `when`, the values of other controls ("picture" among them) that it is shown
    for, one or several. scenes: what is stored of each picture, by its name. scripts: of the paper; the last one defines
    `compose` (see page.js).
    """

    title: str
    intro: str
    controls: Sequence[Mapping]
    scenes: Mapping[str, Mapping]
    scripts: Sequence[Path]


def write(file: Path, page: Page, protocol: Protocol) -> None:
    """Write a page, whose PSNR has the colours of a protocol; raises SRError for one above `LARGEST` bytes."""
    colors = "luma" if protocol.color == "y" else "RGB"
    legend = f"dB after a name: PSNR of the whole picture by the paper's protocol; in view: of what you see, on {colors}"
    viewer = {"color": protocol.color, "rounded": protocol.round_y, "legend": legend}
    data = json.dumps({"controls": list(page.controls), "scenes": dict(page.scenes), "viewer": viewer}).replace("</", "<\\/")
    code = [path.read_text() for path in (SCRIPT, Path(__file__).with_name("page.js"), *page.scripts)]
    code[0] = code[0].replace("export function", "function").partition("export default")[0]
    name = html.escape(page.title)
    text = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{name}</title><style>{STYLE}</style></head><body>
<h1>{name}</h1><p>{html.escape(page.intro)}</p>
<div id="controls"></div>
<div id="beside"><div id="figures"></div>
<div id="texts"><div id="keys"></div><div id="about" aria-live="polite"></div></div></div>
<div id="viewer"></div>
<noscript>This page computes its pictures in the browser, with JavaScript.</noscript>
<script type="module">
{"".join(code)}
explore({data}, compose);
</script></body></html>
"""
    if (size := len(text.encode())) > LARGEST:
        raise SRError(f"{file.name} would have {size:,} bytes, more than {LARGEST:,}; store fewer or smaller pictures")
    atomic_write(file, text)
