"""Gaussian blurs as products with dense matrices, one for the rows and one for the columns."""

import numpy as np


def sigmas(count: int) -> np.ndarray:
    """The standard deviations of a stack, from 0 to 50 pixels in even steps."""
    return np.linspace(0.0, 50.0, count)


def matrix(n: int, sigma: float) -> np.ndarray:
    """The blur of `n` pixels by the heat equation, with half-sample reflection."""
    modes = np.arange(n)
    basis = np.sqrt(2 / n) * np.cos(np.pi / (2 * n) * np.outer(modes, 2 * modes + 1))
    basis[0] *= np.sqrt(0.5)
    decay = np.exp(-0.5 * (sigma * np.pi * modes / n) ** 2)
    return (basis.T @ (decay[:, None] * basis)).astype(np.float32)
