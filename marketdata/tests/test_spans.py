from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.spans import merged, missing

spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8)


def test_what_is_left_lies_between_and_around_what_is_stored():
    assert missing((0, 100), [(10, 19), (40, 49), (50, 60)]) == [(0, 9), (20, 39), (61, 100)]
    assert missing((12, 18), [(10, 19)]) == []
    assert missing((0, 5), []) == [(0, 5)]
    assert missing((0, 5), [(7, 9)]) == [(0, 5)]


def test_touching_stretches_are_one():
    assert merged([(5, 9), (1, 4), (20, 10), (30, 30)]) == [(1, 9), (30, 30)]


@settings(max_examples=50, deadline=None)
@given(st.tuples(st.integers(0, 60), st.integers(0, 60)), spans)
def test_second_by_second_it_is_the_difference_of_two_sets(wanted, stored):
    def seconds(some):
        return {second for first, last in some for second in range(first, last + 1)}

    left = missing(wanted, stored)
    assert seconds(left) == seconds([wanted]) - seconds(stored)
    assert left == merged(left)
