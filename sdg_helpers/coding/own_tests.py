"""Read the tests in a row of a user's file, in the forms in which tests are published."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sdg_helpers.coding.published import parse_json

TEST_NAMES = ("tests", "test_cases", "testcases", "input_output", "public_tests", "official_tests", "examples")
_OUTPUT_NAMES = ("output", "expected_output", "expected", "answer")
_LIKE_TESTS = re.compile(r"test|example|sample|in(?:put)?s?_?(?:and_?)?out(?:put)?s?|cases", re.IGNORECASE)


def read_pairs(value: Any) -> tuple[list[tuple[Any, Any]], str]:
    """Return the (input, output) pairs in a row's tests, and the name of the function that they call, "" if none.

    value: a list of {"input": …, "output": …}; an object of two lists, `inputs` and `outputs`, perhaps with `fn_name`
    (APPS, TACO, CodeContests); or either as JSON text. None for no tests. Raises ValueError for anything else.
    """
    if isinstance(value, str):
        try:
            value = parse_json(value) if value.strip() else None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"its tests are not JSON ({error or 'nested too deeply'})") from None
    if not value:
        return [], ""
    if isinstance(value, Mapping):
        given, results = (value.get(f"{name}s", value.get(name)) for name in ("input", "output"))
        if isinstance(given, list) and isinstance(results, list) and len(given) == len(results):
            function = value.get("fn_name")
            return list(zip(given, results, strict=True)), function if isinstance(function, str) else ""
    elif isinstance(value, list) and all(isinstance(test, Mapping) and "input" in test for test in value):
        return [(test["input"], next((test[key] for key in _OUTPUT_NAMES if key in test), None)) for test in value], ""
    raise ValueError('\'tests\' must be a list of {"input": …, "output": …}, or {"inputs": […], "outputs": […]}')


def looks_like_tests(row: Mapping[str, Any]) -> str:
    """Return the first other column that may hold tests, "" without one."""
    return next(
        (
            name
            for name, value in row.items()
            if _LIKE_TESTS.search(name) and value and isinstance(value, (str, list, dict))
        ),
        "",
    )
