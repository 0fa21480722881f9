"""What drift is compared with: scipy, evidently, and histograms of numpy."""

from __future__ import annotations

import math
import os
import warnings
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import pandas
from scipy import stats
from scipy.spatial import distance

Array = np.ndarray[Any, Any]


@cache
def evidently() -> tuple[Any, Any, Any, Any]:
    """Its normed Wasserstein distance, its Jensen-Shannon distance, and its two types of columns."""
    os.environ["DO_NOT_TRACK"] = "1"
    common = import_module("pandas.core.dtypes.common")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # It imports a private function that pandas dropped in 3.1, for something else.
        missing = "infer_dtype_from_object"
        lacking = not hasattr(common, missing)
        if lacking:
            setattr(common, missing, None)
        try:
            tests = "evidently.legacy.calculations.stattests"
            wasserstein = import_module(f"{tests}.wasserstein_distance_norm")._wasserstein_distance_norm
            jensenshannon = import_module(f"{tests}.jensenshannon")._jensenshannon
            kinds = import_module("evidently.legacy.core").ColumnType
        finally:
            if lacking:
                delattr(common, missing)
    return wasserstein, jensenshannon, kinds.Numerical, kinds.Categorical


def evidently_wasserstein(a: Any, b: Any) -> float:
    function, _, numerical, _ = evidently()
    return float(function(pandas.Series(a), pandas.Series(b), numerical, 0.1)[0])


def evidently_jensen_shannon(a: Any, b: Any) -> float:
    """Of categories, base 2."""
    _, function, _, categorical = evidently()
    return float(function(pandas.Series(a), pandas.Series(b), categorical, 0.1, base=2)[0])


def wasserstein(a: Array, b: Array) -> float:
    return float(stats.wasserstein_distance(a, b) / max(np.std(a), 0.001))


def edges(a: Array, b: Array) -> Array:
    """The bins of Azure ML, in the words of numpy."""
    low, high = min(a.min(), b.min()), max(a.max(), b.max())
    if low == high:
        half = abs(low) * 0.005 or 0.005
        return np.array([low - half, low + half])
    bins = math.ceil(math.log2(min(len(a), len(b))) + 1)
    found = np.array([low + (high - low) / bins * number for number in range(bins + 1)])
    found[-1] = high
    return found


def histograms(a: Array, b: Array) -> tuple[Array, Array]:
    bins = edges(a, b)
    return np.histogram(a, bins)[0], np.histogram(b, bins)[0]


def counts(a: Any, b: Any) -> tuple[Array, Array]:
    """How often each category occurs on both sides."""
    left, right = pandas.Series(a).value_counts(), pandas.Series(b).value_counts()
    names = sorted(set(left.index) | set(right.index), key=repr)
    return np.array([left.get(n, 0) for n in names]), np.array([right.get(n, 0) for n in names])


def jensen_shannon(a: Array, b: Array) -> float:
    """Of counts. scipy takes the root of what rounding may have made negative."""
    with np.errstate(invalid="ignore"):
        found = float(distance.jensenshannon(a / a.sum(), b / b.sum(), base=2))
    return 0.0 if math.isnan(found) else found


def stability(a: Array, b: Array) -> float:
    """Of counts, one added to each."""
    p, q = (a + 1) / a.sum(), (b + 1) / b.sum()
    return float(((q - p) * np.log(q / p)).sum())


def kolmogorov(a: Array, b: Array) -> tuple[float, float]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = stats.ks_2samp(a, b)
    # Where rounding takes a probability beyond 1, scipy warns and gives one of another method.
    beyond = any("Exact calculation unsuccessful" in str(warning.message) for warning in caught)
    return float(found.statistic), 1.0 if beyond else float(found.pvalue)


def chi_square(a: Array, b: Array) -> tuple[float, float]:
    """Of counts, those of `a` as what is expected."""
    with np.errstate(divide="ignore"):
        found = stats.chisquare(b, a / a.sum() * b.sum())
    return float(found.statistic), float(found.pvalue)
