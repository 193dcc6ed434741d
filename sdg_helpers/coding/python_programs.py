"""Check without running it whether a Python program can work: it must parse, read its input and print its answer."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator

_READS = {"input", "stdin", "open", "fileinput", "exec", "eval"}
_PRINTS = {"print", "stdout", "write", "writelines", "exec", "eval"}
_MAIN_NAMES = {"main", "solve", "solution"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# CPython's parser takes quadratic time and memory for these two, and no program has so many.
_IMPORT = re.compile(r"\b(?:import|from)\b(?:[^\n\\]|\\.)*", re.DOTALL)
_PART = re.compile(r"\.[\s\\]*\w")  # of a dotted name
_MAX_PARTS, _MAX_BRACES = 200, 10_000  # of an imported name; of all f-strings together
# Decorators that do not call the function or class they decorate; any other one may.
_PASSIVE_DECORATORS = {
    "staticmethod",
    "classmethod",
    "property",
    "cached_property",
    "setter",
    "abstractmethod",
    "overload",
    "wraps",
    "cache",
    "lru_cache",
    "dataclass",
    "total_ordering",
    "jit",
    "njit",
}


def find_flaw(source: str, function: str = "") -> str:
    """Return the first of too_long, syntax_error, placeholder, runs_nothing, reads_no_input and prints_nothing, or "".

    too_long: names or f-strings that would take the parser quadratic time. function: a function, or method of the class
    Solution, that will be called; a program that defines it needs neither input nor output. The syntax tree is
    searched, so "passengers", an empty class or `except: pass` is no placeholder.
    """
    if _overloads_parser(source):
        return "too_long"
    tree = _parse(source)
    if tree is None:
        return "syntax_error"
    nodes = list(ast.walk(tree))
    if _is_placeholder(tree, nodes):
        return "placeholder"
    if function and _defines(tree, function):
        return ""
    if not any(map(_does_something, tree.body)):
        return "runs_nothing"
    names = set(_names(nodes))
    if not names & _READS and not _uses_os(nodes, "read"):
        return "reads_no_input"
    return "" if names & _PRINTS else "prints_nothing"


def _overloads_parser(source: str) -> bool:
    names = (len(_PART.findall(statement[0])) for statement in _IMPORT.finditer(source))
    return source.count("{") > _MAX_BRACES or max(names, default=0) > _MAX_PARTS


def _parse(source: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape in a string is only a warning
            tree = ast.parse(source)
            compile(source, "<program>", "exec", dont_inherit=True)  # finds `return` outside a function; runs nothing
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    return tree


def _defines(tree: ast.Module, function: str) -> bool:
    """Return whether a module has this function, or a class Solution with this method."""
    classes = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Solution"]
    return any(
        isinstance(node, _FUNCTIONS) and node.name == function and not _is_stub(node)
        for body in (tree.body, *classes)
        for node in body
    )


def _is_placeholder(tree: ast.Module, nodes: list[ast.AST]) -> bool:
    """Return whether a function that should do the work has no body, or `...` replaces a part of the program."""
    body = _without_docstring(tree.body)
    if not body or all(map(_is_nothing, body)):
        return True
    functions = [node for node in nodes if isinstance(node, _FUNCTIONS)]
    # a stub that is overridden or overloaded does not count
    stubs = {node.name for node in functions} - {node.name for node in functions if not _is_stub(node)}
    if stubs & _MAIN_NAMES:
        return True
    bare_calls = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:  # a call whose result, that of a stub, is used
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in stubs
            and id(node) not in bare_calls
        ):
            return True
    return any(map(_has_omission, nodes))


def _has_omission(node: ast.AST) -> bool:
    """Return whether `...` is one statement among others; alone it means `pass`."""
    body = getattr(node, "body", None)
    if not isinstance(body, list) or isinstance(node, ast.ClassDef):
        return False
    rest = _without_docstring(body)
    return any(map(_is_ellipsis, rest)) and len(rest) > 1


def _is_stub(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return all(
        _is_nothing(statement) or _is_not_implemented(statement) for statement in _without_docstring(function.body)
    )


def _is_nothing(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Pass) or _is_ellipsis(statement)


def _is_ellipsis(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and statement.value.value is Ellipsis
    )


def _is_not_implemented(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Raise) and any(
        isinstance(node, ast.Name) and node.id == "NotImplementedError" for node in ast.walk(statement)
    )


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    return [
        statement
        for statement in body
        if not (
            isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Constant)
            and isinstance(statement.value.value, str)
        )
    ]


def _does_something(statement: ast.stmt) -> bool:
    """Return False for statements that only prepare: imports, definitions, constants."""
    if isinstance(statement, (ast.ClassDef, *_FUNCTIONS)):
        return (
            any(not _PASSIVE_DECORATORS & {*_names(ast.walk(decorator))} for decorator in statement.decorator_list)
            or isinstance(statement, ast.ClassDef)
            and any(map(_does_something, statement.body))
        )
    if isinstance(statement, (ast.Import, ast.ImportFrom)) or _is_nothing(statement):
        return False
    return any(isinstance(node, ast.Call) for node in ast.walk(statement))


def _names(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name.rpartition(".")[2]


def _uses_os(nodes: list[ast.AST], name: str) -> bool:
    """Return whether os.<name>, e.g. os.read of a file descriptor, occurs."""
    return any(
        isinstance(node, ast.Attribute)
        and node.attr == name
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        for node in nodes
    )
