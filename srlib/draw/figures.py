"""The figures that notebooks draw, in one style: charts, visual comparisons, where to crop, and saving."""
# ruff: noqa: F401

from srlib.draw.charts import growth, psnr_against_cost, psnr_curves, training_curves
from srlib.draw.panels import CROP, Example, busiest_box, calmest_box, error_map, visual_comparison
from srlib.draw.style import save_figure, use_style
