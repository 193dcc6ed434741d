"""The measure of effort tells a quadratic function from a linear one."""

import pytest

from tests.helpers.effort import assert_grows_linearly


def test_a_linear_function_passes():
    assert_grows_linearly(lambda size: sum(range(size)), 400_000)


def test_a_quadratic_function_is_caught():
    with pytest.raises(AssertionError, match="times the effort for 16 times the input"):
        assert_grows_linearly(lambda size: [sum(range(number)) for number in range(size)], 8_000)
