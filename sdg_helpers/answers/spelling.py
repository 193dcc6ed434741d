"""Bring an answer into one spelling: what LaTeX or Unicode shows alike becomes the same text."""

from __future__ import annotations

import re
import unicodedata

from sdg_helpers.answers.symbols import CHARACTERS, COMMAND, COMMANDS, SUBSCRIPTS, SUPERSCRIPTS

MAX_LENGTH = 2000  # characters; a longer answer is only stripped
LIST_SEPARATOR = "\u2063"  # `1, 234` is a list, `1,234` a number: the comma of the list becomes this

_MAX_PASSES = 8
_TEXT = re.compile(
    r"([A-Za-z]?)\\(?:text(?:bf|it|rm|sf|tt|up|normal)?|math(?:rm|sf|tt|it|normal)|operatorname\*?|mbox|hbox|emph"
    r"|underline|boxed|fbox)\s*\{([^{}\\]*)\}"
)
_BOLD = re.compile(r"\\mathbf\s*\{([^{}\\]{2,}|[^A-Za-z{}\\])\}")
_LONE_BOLD = re.compile(r"\\mathbf\s*\{([A-Za-z])\}")
_COLOR = re.compile(r"\\(?:textcolor\s*\{[^{}]*\}|color\s*\{[^{}]*\})")
_SPACING = re.compile(
    r"\\(?:[hv]space\*?|mspace|phantom|hphantom|vphantom)\s*\{[^{}]*\}|\\(?:hskip|kern)\s*-?[\d.]+\s*[a-z]{2}"
    r"|(?<!\\)\\[,;: ]|(?<!\\)~"
)
_NO_DELIMITER = re.compile(r"\\(?:left|right|middle|[bB]igg?[lrm]?)\s*\.")
_ABOUT = re.compile(r"(^|[=(\[,$<>])\s*~(?=\s*[-\d.$\\])")
_DOLLAR = re.compile(r"(?<!\\)\$")
_SUPERSCRIPT_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
_SUBSCRIPT_RUN = re.compile("[₀₁₂₃₄₅₆₇₈₉₊₋]+")
_ROOT = re.compile(r"√\s*(\d+(?:\.\d+)?|[A-Za-z]|\([^()]*\))|(?<![\\A-Za-z])sqrt\s*\(([^()]*)\)")
_ROW_END = re.compile(r"\\\\\s*(?:\[[^\[\]]*\]\s*)?(?=\\end\{)|(?<=\\\\)\[[^\[\]]*\]")
_ARRAY = re.compile(r"\\(begin|end)\{(?:array|smallmatrix)\}(?:\{[lcr|]*\})?")
_ROUND_MATRIX = re.compile(r"[(\[]\s*\\begin\{matrix\}((?:(?!\\begin\{matrix\}).)*?)\\end\{matrix\}\s*[)\]]", re.DOTALL)
_ARGUMENTS = {
    r"\pmod": 1,
    r"\frac": 2,
    r"\binom": 2,
    r"\sqrt": 1,
    r"\hat": 1,
    r"\bar": 1,
    r"\vec": 1,
    r"\tilde": 1,
    "^": 1,
    "_": 1,
}
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|(?<=\^)-?\d+|.", re.DOTALL)
_POWER_IN_BRACKETS = re.compile(r"\^\(([^()]*)\)")
_LOOSE_GROUP = re.compile(r"(^|[\d+\-*/=(,;<>|\s])\{((?:[^{}\\]|\\[^{}])*)\}")
_LIST = re.compile(r"(?<=\d),\s+(?=\d{3}(?!\d))")
_TERM = re.compile(r"(?<=\d)\s+-(?=\d)")  # `3 -5` may be two numbers, `3 - 5` is a difference
_SPACE = re.compile(r"(.?)\s+(?=(.?))", re.DOTALL)
_GROUPS_OF_THREE = re.compile(r"([+-]?)\d{1,3}(?: \d{3})+(?:\.\d+)?")
_INDIAN_COMMAS = re.compile(r"[+-]?\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?")
_OPTION = re.compile(r"\(([A-Z])\)")


def tidy(answer: str) -> str:
    """Return the answer in one spelling. Idempotent; long answers are only stripped."""
    text = answer.strip()
    if len(text) > MAX_LENGTH or (text.isascii() and text.isalnum()):
        return text
    for _ in range(_MAX_PASSES):  # `$\text{5.}$`: one layer can hide another
        before, text = text, _tidy_layer(text)
        if text == before:
            break
    return text


def _tidy_layer(text: str) -> str:
    if not text.isascii():
        text = _plain_characters(text)
    text = _ROOT.sub(lambda match: rf"\sqrt{{{(match[1] or match[2] or '').strip('()')}}}", text)
    text = text.removeprefix("**").removesuffix("**").strip()
    text = re.sub(r"(?<!\\)\\!|\{,\}", lambda match: "," if match[0] == "{,}" else "", text)
    text = _ABOUT.sub(lambda match: match[1] + r"\sim ", text)
    text = _NO_DELIMITER.sub(" ", text)
    text = COMMAND.sub(lambda match: COMMANDS[match[1]], text)
    text = _COLOR.sub(" ", _SPACING.sub(" ", text)).replace(r"\%", "%").replace(r"\&", "&").replace(r"\#", "#")
    text = _TEXT.sub(lambda match: f"{match[1]} {match[2]}" if match[1] else match[2], text)
    text = _BOLD.sub(r"\1", text)
    text = _undelimit(text.strip())
    lone = _LONE_BOLD.fullmatch(text)
    text = lone[1] if lone else text
    text = _tidy_matrices(text) if r"\begin" in text else text
    text = text.replace("<=", r"\le ").replace(">=", r"\ge ").replace("->", r"\to ").replace("+/-", r"\pm ")
    text = _brace_arguments(_POWER_IN_BRACKETS.sub(r"^{\1}", text)).replace(r"^{\prime}", "'")
    text = _LOOSE_GROUP.sub(r"\1\2", text)
    text = _LIST.sub(LIST_SEPARATOR, text)
    text = _TERM.sub("\0-", text)
    text = _SPACE.sub(_keep_space, text).replace("\0", " ").strip()
    if text.endswith(".") and not text.endswith(("..", r"\.")):
        text = text[:-1].rstrip()
    if _GROUPS_OF_THREE.fullmatch(text):
        text = text.replace(" ", "")
    if _INDIAN_COMMAS.fullmatch(text):
        text = text.replace(",", "")
    option = _OPTION.fullmatch(text)
    return option[1] if option else text


def _plain_characters(text: str) -> str:
    text = _SUPERSCRIPT_RUN.sub(lambda match: f"^{{{match[0].translate(SUPERSCRIPTS)}}}", text)
    text = _SUBSCRIPT_RUN.sub(lambda match: f"_{{{match[0].translate(SUBSCRIPTS)}}}", text)
    text = _ROOT.sub(lambda match: rf"\sqrt{{{(match[1] or match[2] or '').strip('()')}}}", text)
    text = text.translate(CHARACTERS)
    return "".join(
        unicodedata.normalize("NFKC", letter) if 0x1D400 <= ord(letter) <= 0x1D7FF else letter for letter in text
    )


def _undelimit(text: str) -> str:
    """Remove the delimiters of a formula."""
    for opening, closing in ((r"\(", r"\)"), (r"\[", r"\]")):
        if text.startswith(opening) and text.find(closing) == len(text) - 2:
            text = text[2:-2].strip()
    return _DOLLAR.sub("", text) if len(_DOLLAR.findall(text)) % 2 == 0 else text


def _tidy_matrices(text: str) -> str:
    text = _ARRAY.sub(r"\\\1{matrix}", _ROW_END.sub("", text))
    return _ROUND_MATRIX.sub(r"\\begin{pmatrix}\1\\end{pmatrix}", text)


def _brace_arguments(text: str) -> str:
    r"""Put braces around the arguments of commands: `\frac1e`, `x^\alpha`, `\sqrt 2`."""
    pieces: list[str] = []
    missing, open_groups = 0, list[int]()  # arguments that the last command still needs; the same for outer groups
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token == "{":
            open_groups.append(missing)
            missing = 0
        elif token == "}":
            missing = max(0, open_groups.pop() - 1) if open_groups else 0
        elif missing and token.isspace():
            continue
        elif missing and token == "[" and pieces[-1].strip() == r"\sqrt":
            missing = 0  # the index of a root
        elif missing and token not in _ARGUMENTS and token[0] not in "})]&,;=\0":
            token, missing = f"{{{token}}}", missing - 1
        else:
            missing = _ARGUMENTS.get(token, 0)
        pieces.append(token)
    return "".join(pieces)


def _keep_space(match: re.Match[str]) -> str:
    r"""Keep a space between two digits (`3 1/2`), two letters (`\pi r`) and after a backslash; drop the others."""
    before, after = match[1], match[2]
    keep = before.isdigit() and after.isdigit() or before.isalpha() and after.isalpha() or before == "\\"
    return before + " " if keep else before
