"""Single-image super-resolution: models, metrics and reproduction of five papers.

Conventions, used everywhere and not repeated:

- An image is a numpy array `(H, W, 3)` RGB or `(H, W)` grey. `uint8` is 0..255; floats are on the same
  0..255 scale unless a docstring says otherwise.
- A batch is a float tensor `(N, C, H, W)` in 0..1. One channel means BT.601 studio-range luma (Y/255,
  16/255..235/255); three channels mean RGB.
- `lr`, `hr` and `sr` are the low-resolution, the high-resolution and the super-resolved image; `scale` is the
  integer factor between them; `shave` is the border in HR pixels that a metric leaves out.
- PSNR is in dB with peak 255; SSIM is in -1..1. Seconds are wall-clock seconds; mult-adds are counted
  for a 1280x720 output, weights only.
"""

__version__ = "0.1.0"
