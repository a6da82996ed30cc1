"""Seeded arrival processes of open-loop requests: constant, Poisson, Gamma and Weibull interarrivals.

A process is given by its mean rate in 1/s and, for Gamma and Weibull, by a shape k:

    process     interarrivals                               coefficient of variation
    constant    1 / rate                                    0
    poisson     exponential                                 1
    gamma       Gamma(k, 1 / (k rate))                      1 / sqrt(k)
    weibull     Weibull(k) of mean 1 / rate                 sqrt(G(1+2/k) / G(1+1/k)^2 - 1)

G is the gamma function. A shape below 1 is burstier than Poisson, above 1 more regular. Gamma and
Weibull are the families that ServeGen (Xiang et al., arXiv 2505.09999) fits to clients of LLM services.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from topologies.model.errors import SpecError

Process = Literal["constant", "poisson", "gamma", "weibull"]


def interarrivals(process: Process, rate: float, count: int, seed: int, shape: float = 1.0) -> NDArray[np.float64]:
    """`count` times in seconds between arrivals of mean rate `rate` 1/s; the same for the same seed.

    Raises SpecError for a rate or shape that is not above zero or a negative count.
    """
    _check(rate, count, shape)
    rng = np.random.default_rng(seed)
    mean = 1.0 / rate
    match process:
        case "constant":
            return np.full(count, mean)
        case "poisson":
            return rng.exponential(mean, count)
        case "gamma":
            return rng.gamma(shape, mean / shape, count)
        case "weibull":
            return rng.weibull(shape, count) * (mean / math.gamma(1 + 1 / shape))


def arrivals(process: Process, rate: float, count: int, seed: int, shape: float = 1.0) -> NDArray[np.float64]:
    """`count` arrival times in seconds from the start, ascending; the first comes after one interarrival."""
    return np.cumsum(interarrivals(process, rate, count, seed, shape))


def variation(process: Process, shape: float = 1.0) -> float:
    """The coefficient of variation (standard deviation over mean) that the process has."""
    _check(1.0, 0, shape)
    match process:
        case "constant":
            return 0.0
        case "poisson":
            return 1.0
        case "gamma":
            return 1 / math.sqrt(shape)
        case "weibull":
            return math.sqrt(math.gamma(1 + 2 / shape) / math.gamma(1 + 1 / shape) ** 2 - 1)


def _check(rate: float, count: int, shape: float) -> None:
    if not (math.isfinite(rate) and rate > 0):
        raise SpecError("arrivals", "a rate above zero, in requests per second", f"{rate:g}")
    if count < 0:
        raise SpecError("arrivals", "a count of zero or more", str(count))
    if not (math.isfinite(shape) and shape > 0):
        raise SpecError("arrivals", "a shape above zero", f"{shape:g}")
