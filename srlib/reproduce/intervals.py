"""Confidence intervals of paired comparisons: over images, over seeds, of time ratios; and sample sizes."""

import math

import numpy as np
from scipy import stats

CONFIDENCE = 0.95  # unless a caller asks for more
MAX_SAMPLES = 10_000  # no sample size above this is reported


def t_quantile(freedom: float | np.ndarray, confidence: float = CONFIDENCE) -> float | np.ndarray:
    """Return Student's t for a two-sided interval with that many degrees of freedom."""
    return stats.t.ppf((1 + confidence) / 2, freedom)


def image_interval(
    left: np.ndarray, right: np.ndarray, pictures: np.ndarray | None = None, confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
    """Return the mean difference and its t-interval over pictures, infinite for one picture.

    left, right: (images, seeds), row i of both the same image; the numbers of seeds may differ. pictures: (images,), the picture
    that each image is a patch of: its patches are one cluster, weighted by their number.
    """
    clusters = np.arange(len(left)) if pictures is None else np.unique(pictures, return_inverse=True)[1]
    sizes = np.bincount(clusters)
    mean = float(left.mean() - right.mean())
    if len(sizes) == 1:
        return mean, -math.inf, math.inf
    deviations = np.bincount(clusters, left.mean(axis=1) - right.mean(axis=1) - mean) / sizes.mean()
    half_width = float(t_quantile(len(sizes) - 1, confidence)) * float(deviations.std(ddof=1)) / math.sqrt(len(sizes))
    return mean, mean - half_width, mean + half_width


def seed_half_width(left: np.ndarray, right: np.ndarray, same_seeds: bool = False, confidence: float = CONFIDENCE) -> float:
    """Return the half-width of the mean difference's interval over seeds, 0 for one seed on each side.

    left, right: (images, seeds). same_seeds: column j of both is the same seed, so the differences are paired; else Welch's
    interval.
    """
    means = [left.mean(axis=0), right.mean(axis=0)]
    samples = [means[0] - means[1]] if same_seeds else means
    parts = [(sample.var(ddof=1) / len(sample), len(sample) - 1) for sample in samples if len(sample) > 1]
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return 0.0
    freedom = variance**2 / sum(part**2 / n for part, n in parts)  # Welch and Satterthwaite
    return float(t_quantile(freedom, confidence)) * math.sqrt(variance)


def ratio_half_width(left: np.ndarray, right: np.ndarray, confidence: float = CONFIDENCE) -> float:
    """Return the half-width of the interval of sum(left) / sum(right) over paired rounds (delta method); inf for one round."""
    n, ratio = len(left), left.sum() / right.sum()
    if n == 1:
        return math.inf
    return float(t_quantile(n - 1, confidence)) * float((left - ratio * right).std(ddof=1) / right.mean()) / math.sqrt(n)


def required_samples(deviation: float, half_width: float, at_least: int, confidence: float = CONFIDENCE) -> str:
    """Return "about N": the samples of that standard deviation whose mean has an interval no wider than `half_width` each way."""
    n = np.arange(at_least, MAX_SAMPLES + 1)
    enough = t_quantile(n - 1, confidence) * deviation / np.sqrt(n) <= half_width
    return f"about {n[enough][0]:,}" if enough.any() else f"more than {MAX_SAMPLES:,}"
