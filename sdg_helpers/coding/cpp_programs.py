"""Check without compiling it whether a C++ program can work: it must parse, read its input and print its answer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import count

import tree_sitter
import tree_sitter_cpp

from sdg_helpers.coding import cpp_macros

_READS = {
    "cin",
    "wcin",
    "scanf",
    "getline",
    "gets",
    "fgets",
    "getchar",
    "getchar_unlocked",
    "getc",
    "fgetc",
    "fread",
    "read",
    "stdin",
    "getwchar",
    "scanf_s",
    "fscanf",
    "mmap",
    "ifstream",
    "__builtin_scanf",
}
_PRINTS = {
    "cout",
    "wcout",
    "printf",
    "puts",
    "putchar",
    "putchar_unlocked",
    "putc",
    "fputc",
    "fputs",
    "fwrite",
    "fprintf",
    "write",
    "stdout",
    "print",
    "println",
    "ofstream",
}
_MAIN_NAMES = {"main", "solve", "solution", "wmain"}
_BLOCK = 1 << 16
_MIN_STEPS, _STEPS_PER_BYTE = 1000, 0.2  # a thousand real programs took at most 0.034 per byte


def find_flaw(source: str) -> str:
    """Return the first of syntax_error, placeholder, runs_nothing, reads_no_input and prints_nothing, or ""."""
    if cpp_macros.is_cut_off(source):
        return "syntax_error"
    root = _parse(source) or _parse(cpp_macros.rewrite_for_parser(cpp_macros.expand_macros(source)))
    if root is None:
        return "syntax_error"
    words = cpp_macros.words(source)
    functions = set(_functions(root))
    if any((name, False) in functions and (name, True) not in functions for name in _MAIN_NAMES) or not words:
        return "placeholder"
    if ("main", True) not in functions and "main" not in words:
        return "runs_nothing"
    if not words & _READS:
        return "reads_no_input"
    return "" if words & _PRINTS else "prints_nothing"


@cache
def _parser() -> tree_sitter.Parser:
    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_cpp.language()))


def _parse(source: str) -> tree_sitter.Node | None:
    """Return the syntax tree, or None for a syntax error or when parsing takes too many steps."""
    data, steps = source.encode("utf-8", "replace"), count(1)
    max_steps = _MIN_STEPS + _STEPS_PER_BYTE * len(data)
    try:
        root = (
            _parser()
            .parse(lambda start, _: data[start : start + _BLOCK], progress_callback=lambda *_: next(steps) > max_steps)
            .root_node
        )
    except ValueError:  # stopped by progress_callback
        _parser().reset()
        return None
    return None if root.has_error else root


def _functions(root: tree_sitter.Node) -> Iterator[tuple[str, bool]]:
    """Yield (name, whether it does anything) for every function with a body."""
    unvisited = [root]
    while unvisited:
        node = unvisited.pop()
        if node.type == "function_definition":
            body, name = node.child_by_field_name("body"), _name(node)
            if body is not None and name:
                yield name, any(map(_does_something, body.named_children))
        else:
            unvisited.extend(node.named_children)


def _name(function: tree_sitter.Node) -> str:
    node = function.child_by_field_name("declarator")
    while node is not None and node.type not in ("identifier", "field_identifier", "qualified_identifier"):
        node = node.child_by_field_name("declarator")
    return (node.text or b"").decode("utf-8", "replace").rpartition("::")[2] if node is not None else ""


def _does_something(statement: tree_sitter.Node) -> bool:
    """Return False for a comment, an empty statement and `return 0`."""
    if statement.type == "return_statement":
        return not all(child.type in ("number_literal", "comment") for child in statement.named_children)
    return statement.type != "comment" and bool(
        statement.named_children or statement.type not in ("expression_statement", "compound_statement")
    )
