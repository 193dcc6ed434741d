"""Find every regular expression of the package, and the methods that are called with it."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import sdg_helpers

METHODS = {"search", "match", "fullmatch", "sub", "finditer", "findall", "split"}
SCRIPTS = ("__main__", "shard_script")  # run something when they are imported


class Use(NamedTuple):
    """A regular expression and the methods that the package calls with it. name: of the variable, or file and line."""

    name: str
    pattern: re.Pattern[Any]
    methods: tuple[str, ...]


def package_patterns() -> list[Use]:
    """Return every regular expression: module variables, those in tables, and those given to `re.sub` and its like.

    A pattern that is called in an unknown way, because it is in a table, is searched for.
    """
    names = [found.name for found in pkgutil.walk_packages(sdg_helpers.__path__, "sdg_helpers.")]
    uses: dict[str, Use] = {}
    for module in [importlib.import_module(name) for name in names if not name.endswith(SCRIPTS)]:
        with open(str(module.__file__), encoding="utf-8") as file:
            tree = ast.parse(file.read())
        methods = _methods_by_name(tree)
        for name, value in vars(module).items():
            for number, pattern in enumerate(_patterns_in(value)):
                called = tuple(sorted(methods.get(name, {"search"})))
                uses.setdefault(
                    f"{pattern.pattern!r}{called}", Use(f"{module.__name__}.{name}[{number}]", pattern, called)
                )
        for use in _literal_patterns(tree, module):
            uses.setdefault(f"{use.pattern.pattern!r}{use.methods}", use)
    return list(uses.values())


def _patterns_in(value: Any) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, (tuple, list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _patterns_in(item)


def _methods_by_name(tree: ast.AST) -> dict[str, set[str]]:
    """Return the methods of each name: `_WORD.findall(…)`, `map(_WORD.match, …)`."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in METHODS and isinstance(node.value, ast.Name):
            found.setdefault(node.value.id, set()).add(node.attr)
    return found


def _literal_patterns(tree: ast.AST, module: ModuleType) -> Iterator[Use]:
    """Yield the patterns written in a call such as `re.sub(r"…", …)`; "ab" stands for a value known only then."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS):
            continue
        if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "re"):
            continue
        text, flags = node.args[0], 0
        for extra in [*node.args[1:], *(keyword.value for keyword in node.keywords)]:
            if isinstance(extra, ast.Attribute) and isinstance(extra.value, ast.Name) and extra.value.id == "re":
                flags |= getattr(re, extra.attr)
        if isinstance(text, ast.Constant):
            source = text.value
        elif isinstance(text, ast.JoinedStr):
            source = "".join(_evaluate(part, module) for part in text.values)
        else:
            continue  # a variable: a pattern of the user's own
        yield Use(f"{module.__name__}, line {node.lineno}", re.compile(source, flags), (node.func.attr,))


def _evaluate(part: ast.expr, module: ModuleType) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    assert isinstance(part, ast.FormattedValue)
    try:
        return str(eval(compile(ast.Expression(part.value), "pattern", "eval"), vars(module)))
    except NameError:
        return "ab"
