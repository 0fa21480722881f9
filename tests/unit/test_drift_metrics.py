"""Metrics of drift: exact ones equal scipy's and evidently's, those of sketches are within their bounds."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from dataver.errors import BadInputError
from dataver.format.table_statistics import Quantiles
from dataver.tables import metrics
from dataver.tables.criteria import METRICS, make_criteria
from dataver.tables.drift import ColumnDrift, compare_column
from dataver.tables.measures import Measure
from dataver.tables.ordered import Ordered, joint
from dataver.tables.probabilities import chi_square_tail, kolmogorov_tail, upper_gamma
from dataver.tables.profile import Profile, family, of_statistics
from dataver.tables.rowwise import taker_of
from dataver.tables.sketch import QuantileBuilder
from dataver.tables.statistics import file_statistics, merge
from dataver.tables.view import TableColumn
from tests import oracles

ALL = make_criteria(["auto", *METRICS])
Array = np.ndarray[Any, Any]


def rowwise(array: pa.Array, batch: int = 700, room: int = 1000) -> Profile:
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    taker = taker_of("c", kind, room)
    for start in range(0, max(len(array), 1), batch):
        taker.add(array.slice(start, batch))
    return taker.finish()


def sketched(array: pa.Array, files: int = 1) -> Profile:
    """From statistics of so many files together."""
    parts = []
    size = -(-max(len(array), 1) // files)
    for start in range(0, max(len(array), 1), size):
        sink = io.BytesIO()
        pq.write_table(pa.table({"c": array.slice(start, size)}), sink)
        parts.append(file_statistics(sink))
    return of_statistics(TableColumn(merge(parts).columns[0]))


def figures(a: Profile, b: Profile) -> dict[str, Measure]:
    return {measure.metric: measure for measure in compare_column(a, b, ALL).measures}


def check_numbers(a: Array, b: Array, found: dict[str, Measure]) -> None:
    """Every figure against its oracle; within 1e-9, or within the error it states."""
    left, right = oracles.histograms(a, b)
    scale = max(1.0, np.ptp(np.concatenate([a, b])) / max(np.std(a), 0.001))
    statistic, p_value = oracles.kolmogorov(a, b)
    for name, expected in (
        ("NormalizedWassersteinDistance", oracles.wasserstein(a, b)),
        ("TwoSampleKolmogorovSmirnovTest", statistic),
        ("JensenShannonDistance", oracles.jensen_shannon(left, right)),
        ("PopulationStabilityIndex", oracles.stability(left, right)),
    ):
        value = found[name].value
        assert value is not None
        slack = 1e-9 * scale if name[0] == "N" else 2e-8 if name[0] == "J" else 1e-9
        assert abs(value - expected) <= found[name].error + slack, name
    told = found["TwoSampleKolmogorovSmirnovTest"].p_value
    if told is not None:
        assert told == pytest.approx(p_value, abs=1e-9)


# Probabilities


@given(st.floats(0.01, 1e5), st.floats(0, 1e6))
@settings(max_examples=300)
def test_the_gamma_function_against_scipy(a: float, x: float) -> None:
    assert upper_gamma(a, x) == pytest.approx(special.gammaincc(a, x), abs=1e-10)


@given(st.floats(0.5, 1e5), st.floats(-4, 4))
def test_the_gamma_function_where_it_falls(a: float, deviations: float) -> None:
    x = max(a + deviations * math.sqrt(a), 0.0)
    assert upper_gamma(a, x) == pytest.approx(special.gammaincc(a, x), abs=1e-10)


def test_chi_square_tails() -> None:
    for statistic, freedom in ((0.0, 3), (1e-12, 1), (3.84, 1), (1000.0, 5), (40.0, 400), (1e4, 10**4)):
        expected = stats.chi2.sf(statistic, freedom)
        assert chi_square_tail(statistic, freedom) == pytest.approx(expected, rel=1e-9, abs=1e-300)
    assert chi_square_tail(math.inf, 4) == 0.0
    assert chi_square_tail(0.0, 0) == 1.0, "one category is where it must be"


SAMPLES = st.lists(st.floats(-3, 3).map(lambda x: round(x, 1)), min_size=1, max_size=60).map(np.array)


@given(SAMPLES, SAMPLES)
def test_kolmogorov_tails_against_scipy(a: Array, b: Array) -> None:
    statistic, p_value = oracles.kolmogorov(a, b)
    assert kolmogorov_tail(statistic, len(a), len(b)) == pytest.approx(p_value, abs=1e-10)


@pytest.mark.parametrize(("a", "b", "shift"), [(9999, 9998, 0.01), (5000, 6000, 0.1), (1, 9999, 0.0)])
def test_kolmogorov_tails_of_large_samples(a: int, b: int, shift: float) -> None:
    random = np.random.default_rng(0)
    found = stats.ks_2samp(random.normal(size=a), random.normal(shift, 1, b))
    assert kolmogorov_tail(found.statistic, a, b) == pytest.approx(found.pvalue, abs=1e-9)


# Numbers in order


@given(st.lists(st.lists(st.integers(-20, 20).map(float), max_size=40), max_size=6), st.integers(1, 30))
def test_any_order_comes_out_sorted(batches: list[list[float]], room: int) -> None:
    ordered = Ordered(room)
    for batch in batches:
        ordered.add(np.array(batch))
    other = Ordered(1000)
    other.add(np.array([0.0, 5.0]))
    values, counts, others = [
        np.concatenate(parts) for parts in zip(*joint(ordered.runs(), other.runs()), strict=True)
    ]
    everything = Counter(value for batch in batches for value in batch)
    assert values.tolist() == sorted({*everything, 0.0, 5.0})
    assert counts.tolist() == [everything[value] for value in values.tolist()]
    assert others.tolist() == [1 if value in (0.0, 5.0) else 0 for value in values.tolist()]


def test_long_runs_go_to_disk_and_come_back_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataver.tables import ordered as module

    monkeypatch.setattr(module, "BLOCK_VALUES", 256)
    values = np.random.default_rng(5).normal(size=20_000)
    sides = []
    for side in (values, values + 1):
        ordered = Ordered(1500)
        for start in range(0, len(side), 300):
            ordered.add(side[start : start + 300])
        assert sum(len(run) for run, _ in ordered._held) <= 1500, "no more than that is held"
        assert len(ordered._spilled) > 5
        sides.append(ordered.runs())
    blocks = list(joint(*sides))
    assert max(len(block) for block, _, _ in blocks) <= 256
    assert np.array_equal(np.concatenate([block for block, _, _ in blocks]), np.unique([values, values + 1]))


# Exact figures


KINDS: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "normal": lambda random, n: random.normal(3, 2, n),
    "shifted": lambda random, n: random.normal(3.4, 2.2, n),
    "lognormal": lambda random, n: random.lognormal(0, 2, n),
    "few": lambda random, n: random.integers(0, 5, n).astype(float),
    "ids": lambda _, n: np.arange(n, dtype=float),
    "constant": lambda _, n: np.full(n, 7.25),
    "zero": lambda _, n: np.zeros(n),
    "tiny": lambda random, n: random.normal(0, 1e-5, n),
    "bimodal": lambda random, n: random.normal(np.where(random.random(n) < 0.5, -4, 4), 1),
}  # fmt: skip


@pytest.mark.parametrize("left", KINDS)
@pytest.mark.parametrize("right", ["normal", "shifted", "lognormal", "few", "constant"])
def test_exact_numbers_against_the_oracles(left: str, right: str) -> None:
    random = np.random.default_rng(17)
    a, b = KINDS[left](random, 2500), KINDS[right](random, 1900)
    found = figures(rowwise(pa.array(a)), rowwise(pa.array(b)))
    assert not any(measure.error for measure in found.values())
    check_numbers(a, b, found)
    value = found["NormalizedWassersteinDistance"].value
    assert value == pytest.approx(oracles.evidently_wasserstein(a, b), rel=1e-9, abs=1e-9)


FLOATS = st.lists(st.one_of(st.floats(-1e6, 1e6), st.integers(-3, 3).map(float)), min_size=1, max_size=80)


@given(FLOATS, FLOATS)
def test_exact_numbers_of_any_kind(a: list[float], b: list[float]) -> None:
    check_numbers(np.array(a), np.array(b), figures(rowwise(pa.array(a), 7, 5), rowwise(pa.array(b), 11, 9)))


WORDS = st.lists(st.sampled_from(["a", "b", "ä", "日本", "😀", "", "c" * 200]), min_size=1, max_size=60)


@given(WORDS, WORDS)
def test_exact_categories_against_the_oracles(a: list[str], b: list[str]) -> None:
    found = figures(rowwise(pa.array(a), 7), rowwise(pa.array(b), 11))
    left, right = oracles.counts(a, b)
    assert found["JensenShannonDistance"].value == pytest.approx(
        oracles.jensen_shannon(left, right), abs=2e-8
    )
    assert found["PopulationStabilityIndex"].value == pytest.approx(oracles.stability(left, right), abs=1e-9)
    if len(left) > 1:
        statistic, p_value = oracles.chi_square(left, right)
        assert found["PearsonsChiSquaredTest"].value == pytest.approx(statistic, rel=1e-9, abs=1e-9)
        assert found["PearsonsChiSquaredTest"].p_value == pytest.approx(p_value, abs=1e-9)
    assert found["JensenShannonDistance"].value == pytest.approx(
        oracles.evidently_jensen_shannon(a, b), abs=2e-8
    )


def test_truth_values_bytes_and_dictionaries_are_categories() -> None:
    random = np.random.default_rng(2)
    sides = random.random(900) < 0.5, random.random(1100) < 0.8
    for pair, kind in (
        ((True, False), pa.bool_()),
        ((b"\xff", b"\x00"), pa.binary()),
        ((b"ab", b"cd"), pa.binary(2)),
        (("x", "y"), pa.dictionary(pa.int32(), pa.string())),
        (("x", "y"), pa.large_string()),
        (("x", "y"), pa.string_view()),
    ):
        a, b = (pa.array([pair[0] if first else pair[1] for first in side], kind) for side in sides)
        expected = oracles.jensen_shannon(*oracles.counts(a.to_pylist(), b.to_pylist()))
        for make in (rowwise, sketched):
            found = figures(make(a), make(b))["JensenShannonDistance"]
            assert found.value == pytest.approx(expected, abs=1e-9)
            assert (found.error, found.drifted) == (0.0, True)


# Figures of sketches


@pytest.mark.parametrize("files", [1, 4])
@pytest.mark.parametrize("left", ["normal", "lognormal", "ids", "few", "bimodal", "constant"])
@pytest.mark.parametrize("right", ["normal", "shifted", "lognormal"])
def test_figures_of_sketches_are_within_their_bounds(left: str, right: str, files: int) -> None:
    random = np.random.default_rng(23)
    a, b = KINDS[left](random, 60_000), KINDS[right](random, 50_000)
    found = figures(sketched(pa.array(a), files), sketched(pa.array(b), files))
    check_numbers(a, b, found)
    wasserstein = found["NormalizedWassersteinDistance"]
    if {left, right} <= {"normal", "shifted", "ids", "bimodal"} and files == 1:
        assert 0 < wasserstein.error < 0.05, "so small that the threshold can be decided by it"


@given(FLOATS, FLOATS, st.integers(2, 20), st.integers(1, 9))
@settings(max_examples=200)
def test_bounds_hold_for_any_sketch(a: list[float], b: list[float], points: int, batch: int) -> None:
    """Sketches of so few points that their errors are large."""
    profiles = []
    for values in (a, b):
        builder = QuantileBuilder(points)
        for start in range(0, len(values), batch):
            builder.add(*np.unique(np.array(values[start : start + batch]) + 0.0, return_counts=True))
        profiles.append(_with_points(values, builder.finish()))
    check_numbers(np.array(a), np.array(b), figures(*profiles))


def _with_points(values: list[float], points: Quantiles) -> Profile:
    from dataclasses import replace

    whole = sketched(pa.array(values, pa.float64()))
    assert whole.numbers is not None
    run = np.array(points.values), np.array(points.weights, np.int64)
    return replace(whole, numbers=replace(whole.numbers, error=points.error, runs=[run]))


@given(st.integers(0, 2**32), st.integers(300, 3000), st.floats(0.3, 2.5))
@settings(max_examples=25, deadline=None)
def test_bounds_hold_where_not_all_categories_are_listed(seed: int, distinct: int, slope: float) -> None:
    random = np.random.default_rng(seed)
    sides = []
    for shift in (0, int(random.integers(0, 50))):
        weights = (np.arange(distinct) + 1.0) ** -slope
        numbers = random.choice(distinct, 20_000, p=weights / weights.sum()) + shift
        sides.append(pa.array([f"w{number}" for number in numbers]))
    exact = figures(*map(rowwise, sides))["JensenShannonDistance"].value
    found = figures(sketched(sides[0], 3), sketched(sides[1]))
    told = found["JensenShannonDistance"]
    assert exact is not None
    assert told.value is not None
    assert abs(told.value - exact) <= told.error + 1e-9
    expected = oracles.jensen_shannon(*oracles.counts(*(side.to_pylist() for side in sides)))
    assert exact == pytest.approx(expected, abs=1e-9)
    if told.error:
        for metric in ("PopulationStabilityIndex", "PearsonsChiSquaredTest"):
            assert (found[metric].value, found[metric].drifted) == (None, None)
            assert "--exact" in found[metric].reason


def test_values_that_are_all_different_decide_nothing_by_statistics() -> None:
    sides = [pa.array([f"{side}{n}" for n in range(70_000)]) for side in "ab"]
    found = compare_column(sketched(sides[0]), sketched(sides[1]), make_criteria())
    js = found.measures[1]
    assert (js.value, js.error, js.drifted, js.certain, found.drifted) == (0.0, 1.0, None, False, None)
    assert "--exact" in js.reason
    assert figures(*map(rowwise, sides))["JensenShannonDistance"].value == pytest.approx(1.0)


def test_a_tie_with_the_threshold_says_how_sure_it_is() -> None:
    random = np.random.default_rng(4)
    a, b = sketched(pa.array(random.normal(0, 1, 50_000))), sketched(pa.array(random.normal(0.1, 1, 50_000)))
    told = compare_column(a, b, make_criteria()).measures[1]
    assert told.value is not None
    assert told.error < told.threshold
    assert not told.certain
    for shift, drifted in ((2 * told.error, True), (-2 * told.error, False)):
        criteria = make_criteria(thresholds=told.value - shift)
        measure = compare_column(a, b, criteria).measures[1]
        assert (measure.drifted, measure.certain) == (drifted, True)


# Criteria


def test_metrics_and_thresholds() -> None:
    default = make_criteria()
    assert (default.numbers, default.categories) == (("wasserstein",), ("js",))
    assert default.to_json() == {
        "NormalizedWassersteinDistance": 0.1,
        "JensenShannonDistance": 0.1,
        "missing": 0.1,
    }
    chosen = make_criteria(
        ["PopulationStabilityIndex", "chi2"], {"psi": 0.25, "PearsonsChiSquaredTest": 0.01}
    )
    assert (chosen.numbers, chosen.categories) == (("psi",), ("psi", "chi2"))
    assert chosen.thresholds == {"psi": 0.25, "chi2": 0.01, "missing": 0.1}
    assert make_criteria(["auto", "chi2"], 0.3).thresholds == {
        "wasserstein": 0.3, "js": 0.3, "chi2": 0.05, "missing": 0.1,
    }  # fmt: skip
    wrong: list[tuple[Any, Any]] = [
        ("emd", None), ([], None), ("auto", -0.1), ("auto", math.nan), ("auto", math.inf), ("chi2", 0.1),
        ("chi2", {"chi2": 1.5}), ("auto", {"psi": 0.1}), ("auto", {"missing": 2}), ("auto", {"age": 0.1}),
    ]  # fmt: skip
    for names, thresholds in wrong:
        with pytest.raises(BadInputError):
            make_criteria(names, thresholds)


# Odd columns


def drift(a: pa.Array, b: pa.Array, **options: Any) -> ColumnDrift:
    """What both ways say, which must agree."""
    criteria = make_criteria(**options)
    told, exact = (compare_column(make(a), make(b), criteria) for make in (sketched, rowwise))
    for one, other in zip(told.measures, exact.measures, strict=True):
        assert (one.metric, one.drifted, one.reason) == (other.metric, other.drifted, other.reason)
        assert (one.value is None) == (other.value is None)
        assert one.value == pytest.approx(other.value or 0.0, rel=1e-9, abs=1e-9) or one.value is None
    for field in ("kind", "drifted", "reason", "baseline", "target", "below", "above", "new", "vanished"):
        assert getattr(told, field) == getattr(exact, field), field
    return exact


def test_odd_columns_have_an_outcome() -> None:
    nan, inf = math.nan, math.inf
    numbers, none = pa.array([1.0, 2.0, 3.0, 4.0]), pa.nulls(4, pa.float64())
    empty = pa.array([], pa.float64())
    same = drift(numbers, numbers)
    assert (same.drifted, same.measures[1].value, same.below, same.above) == (False, 0.0, False, False)
    assert drift(none, none).drifted is False
    assert drift(none, none).reason == "neither side has values"
    assert drift(numbers, none).drifted is True
    assert drift(numbers, none).reason == "the target has no values"
    assert drift(none, numbers).reason == "the baseline has no values"
    for a, b in ((empty, numbers), (numbers, empty), (empty, empty)):
        found = drift(a, b)
        assert found.drifted is None
        assert found.measures[0].reason == "a side has no rows"
        assert "values" in found.reason
    special = drift(pa.array([1.0, 2.0, 3.0, 4.0, nan, inf, -inf, None]), numbers)
    assert (special.baseline.nan, special.baseline.infinities, special.baseline.nulls) == (1, 2, 1)
    assert (special.measures[0].value, special.measures[1].value, special.drifted) == (0.5, 0.0, True)
    assert drift(pa.array([nan, nan]), pa.array([nan, inf])).drifted is False
    constant = drift(pa.array([5.0, 5.0]), pa.array([5.0, 5.0, 5.00001]))
    assert constant.measures[1].value == pytest.approx(0.00001 / 3 / 0.001)
    huge = drift(pa.array([1e308, -1e308]), pa.array([1e308, 1.0]))
    assert huge.drifted is None
    assert "range of floats" in huge.measures[1].reason
    words = drift(pa.array(["a", "a", None]), pa.array(["b", None, None]))
    assert words.new is not None
    assert words.vanished is not None
    assert (words.new.values, words.vanished.values) == ((("b", 1),), (("a", 2),))
    assert drift(pa.nulls(3), pa.nulls(3)).drifted is False
    assert drift(pa.nulls(3), pa.array([1, 2, 3])).reason == "the baseline has no values"
    assert drift(pa.array([1, 2]), pa.array(["1", "2"])).reason == "int64 does not compare with string"
    unknown = pa.array([pa.scalar((1, 2, 3), pa.month_day_nano_interval())])
    assert "nothing is compared" in compare_column(rowwise(unknown), rowwise(unknown), ALL).reason
    only = drift(pa.array([True, False]), pa.array([True, True]), metrics="wasserstein")
    assert (only.drifted, only.reason) == (None, "none of the metrics that were asked for is for categories")


def test_numbers_of_all_sorts_compare() -> None:
    from datetime import date, datetime, time, timedelta
    from decimal import Decimal

    whole = [1, 2, 3, 10]
    expected = oracles.wasserstein(np.array(whole) * 1.0, np.array(whole) + 1.0)
    pairs: list[tuple[pa.Array, pa.Array]] = [
        (pa.array(whole), pa.array([n + 1.0 for n in whole])),
        (pa.array(whole, pa.uint8()), pa.array([n + 1 for n in whole], pa.int16())),
        (pa.array(whole), pa.array([Decimal(n + 1) for n in whole], pa.decimal128(9, 2))),
        (pa.array([Decimal(n) for n in whole], pa.decimal256(50, 3)), pa.array([n + 1 for n in whole])),
        (pa.array([date.fromordinal(n) for n in whole]), pa.array([date.fromordinal(n + 1) for n in whole])),
        (
            pa.array([date.fromordinal(n + 700_000) for n in whole]),
            pa.array([datetime.fromordinal(n + 700_001) for n in whole], pa.timestamp("ns", "UTC")),
        ),
        (
            pa.array([timedelta(n) for n in whole], pa.duration("ms")),
            pa.array([timedelta(n + 1) for n in whole], pa.duration("us")),
        ),
        (
            pa.array([time(n) for n in whole], pa.time32("ms")),
            pa.array([time(n + 1) for n in whole], pa.time64("us")),
        ),
    ]  # fmt: skip
    for a, b in pairs:
        found = drift(a, b)
        assert found.measures[1].value == pytest.approx(expected, rel=1e-12), a.type
        assert (found.kind, found.above) == ("numbers", True)
    assert drift(*pairs[5]).target.max == "1917-07-26T00:00:00Z"
    assert drift(pairs[4][0], pa.array([1, 2])).drifted is None
    assert {family(str(kind)) for kind in (pa.int8(), pa.float16(), pa.decimal128(3), pa.uint64())} == {
        "number"
    }


def test_bins_of_extremes() -> None:
    assert metrics.bin_edges(0.0, 0.0, 5).tolist() == [-0.005, 0.005]
    assert metrics.bin_edges(-1e308, 1e308, 4)[-1] == 1e308
    assert len(metrics.bin_edges(0.0, 1.0, 1)) == 2
    assert np.isfinite(metrics.bin_edges(-1.7e308, 1.7e308, 1000)).all()
