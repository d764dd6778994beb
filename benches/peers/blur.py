"""Gaussian blurs as products with dense matrices, one for the rows and one for the columns."""

import numpy as np


def sigmas(count: int) -> np.ndarray:
    """The standard deviations of a stack, from 0 to 50 pixels in even steps."""
    return np.linspace(0.0, 50.0, count)


def toeplitz(n: int, sigma: float) -> np.ndarray:
    """The blur of `n` pixels: a sampled kernel up to 4 sigma, half-sample reflection."""
    radius = int(4.0 * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    taps = np.exp(-0.5 * (offsets / sigma) ** 2) if radius else np.ones(1)
    at = (np.arange(n)[:, None] + offsets) % (2 * n)
    matrix = np.zeros((n, n))
    np.add.at(matrix, (np.arange(n)[:, None], np.minimum(at, 2 * n - 1 - at)), taps / taps.sum())
    return matrix.astype(np.float32)
