"""The figures that notebooks draw, in one style: charts, visual comparisons, where to crop, and saving."""

from srlib.draw.charts import growth, psnr_against_cost, training_curves
from srlib.draw.comparison import Example, busiest_box, calmest_box, error_map, visual_comparison
from srlib.draw.style import DPI, GREY, PALETTE, note, save_figure, subplots, use_style

__all__ = [
    "DPI",
    "GREY",
    "PALETTE",
    "Example",
    "busiest_box",
    "calmest_box",
    "error_map",
    "growth",
    "note",
    "psnr_against_cost",
    "save_figure",
    "subplots",
    "training_curves",
    "use_style",
    "visual_comparison",
]
