"""Histograms: what is counted into which bar, and SVG that holds."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connections_env.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, bins, count, histogram

SVG = "{http://www.w3.org/2000/svg}"
numbers = st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=60)


@given(numbers)
def test_every_number_is_in_one_bin(values):
    edges = bins(values)
    assert sum(count(values, edges)) == len(values)
    assert len(edges) <= 20


@pytest.mark.parametrize(
    ("values", "edges"),
    [
        ([3, 3, 3], [3, 4]),
        ([2, 6], [2, 3, 4, 5, 6, 7]),
        ([1, 40], [0, 5, 10, 15, 20, 25, 30, 35, 40, 45]),
    ],
)
def test_whole_numbers_have_bins_of_whole_width(values, edges):
    assert bins(values, whole=True) == edges


def test_sums_that_differ_in_their_last_digit_share_a_bin():
    values = [5.1, 4.0 + 0.6 + 0.5, 5.1000000000000005]
    assert count(values, bins(values)) == [3]


def test_edges_are_round():
    assert bins([5.0, 5.5]) == [5.0, 5.05, 5.1, 5.15, 5.2, 5.25, 5.3, 5.35, 5.4, 5.45, 5.5, 5.55]


def bars(svg):
    """(series and bin, count) of each bar, read from what a reader sees on pointing at it."""
    root = ElementTree.fromstring(svg)
    told = [rect.find(f"{SVG}title").text for rect in root.iter(f"{SVG}rect") if rect.find(f"{SVG}title") is not None]
    return dict(re.fullmatch(r"(.*): ([\d,]+)", one, re.DOTALL).groups() for one in told)


def test_bars_say_how_many_of_each_series():
    svg = histogram("Games by turns", "turns", {"none": [3, 3, 4], "gameplay": [4]}, whole=True)
    assert bars(svg) == {"none, 3": "2", "none, 4": "1", "gameplay, 4": "1"}


@given(st.dictionaries(st.sampled_from(["none", "gameplay"]), numbers, min_size=1))
def test_all_that_is_drawn_lies_within_the_picture(series):
    root = ElementTree.fromstring(histogram("t", "a", series))
    for rect in root.iter(f"{SVG}rect"):
        if rect.find(f"{SVG}title") is not None:
            x, y, wide, high = (float(rect.get(name)) for name in ("x", "y", "width", "height"))
            assert x >= LEFT
            assert x + wide <= WIDTH - RIGHT + 1
            assert y >= TOP - 0.1
            assert y + high <= HEIGHT - BOTTOM + 0.1
            assert wide > 0


def test_names_cannot_break_the_picture():
    svg = histogram("<b>&", '"axis"', {"<script>": [1], "a & b": [2]}, whole=True)
    assert bars(svg) == {"<script>, 1": "1", "a & b, 2": "1"}
    assert "<script>" not in svg
