r"""Tables of typography: Unicode characters and LaTeX commands that write the same thing."""

from __future__ import annotations

import re

_GREEK_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi "
    "omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega"
)
_OPERATOR_NAMES = (
    "times cdot cdot div pm mp le ge ne approx equiv sim in notin subset subseteq supset cup cap emptyset infty to "
    "Rightarrow Leftrightarrow angle triangle perp parallel langle rangle ldots neg wedge vee forall exists sum prod "
    "int partial"
)
_FRACTION_DIGITS = "12 13 23 14 34 15 25 35 45 16 56 17 18 38 58 78 19 1{10}"
_NAMES = {
    **dict(zip("αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ", _GREEK_NAMES.split(), strict=True)),
    **dict(zip("×·⋅÷±∓≤≥≠≈≡∼∈∉⊂⊆⊃∪∩∅∞→⇒⇔∠△⊥∥⟨⟩…¬∧∨∀∃∑∏∫∂", _OPERATOR_NAMES.split(), strict=True)),
}
_FRACTIONS = dict(zip("½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒", _FRACTION_DIGITS.split(), strict=True))
CHARACTERS = str.maketrans(
    {
        **{chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},  # full-width forms of ASCII
        **dict.fromkeys("−–—‒﹣－", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u3000", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff", ""),
        **dict.fromkeys("’′", "'"),
        **{letter: rf"\{name} " for letter, name in _NAMES.items()},
        **{letter: rf"\frac{digits} " for letter, digits in _FRACTIONS.items()},
        **{letter: rf"\mathbb{{{name}}}" for letter, name in zip("ℝℕℤℚℂ", "RNZQC", strict=True)},
        "°": r"^{\circ}",
        "、": ",",
        "。": ".",
        "√": r"\sqrt ",
    }
)
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋", "0123456789+-")

_SYNONYMS = {
    r"\frac": "dfrac tfrac cfrac",
    r"\binom": "dbinom tbinom",
    r"\le ": "leq leqslant",
    r"\ge ": "geq geqslant",
    r"\ne ": "neq",
    "<": "lt",
    ">": "gt",
    "(": "lparen",
    ")": "rparen",
    "[": "lbrack",
    "]": "rbrack",
    r"\{": "lbrace",
    r"\}": "rbrace",
    "|": "vert lvert rvert mid",
    r"\|": "Vert lVert rVert",
    r"\to ": "rightarrow longrightarrow",
    r"\Rightarrow ": "implies Longrightarrow",
    r"\Leftrightarrow ": "iff Longleftrightarrow",
    ":": "colon",
    r"\emptyset ": "varnothing",
    r"\wedge ": "land",
    r"\vee ": "lor",
    r"\neg ": "lnot",
    "*": "ast",
    r"\ldots ": "dots cdots dotsc dotsb",
    r"\hat": "widehat",
    r"\tilde": "widetilde",
    r"\bar": "overline",
    r"\vec": "overrightarrow",
    r"\mathbf": "boldsymbol bm pmb",
    r"\epsilon ": "varepsilon",
    r"\phi ": "varphi",
    r"\theta ": "vartheta",
    r"^{\circ}": "degree textdegree",
    r"\mathbb{R}": "R",
    " ": "left right middle big Big bigg Bigg bigl bigr bigm Bigl Bigr Bigm biggl biggr Biggl Biggr displaystyle "
    "textstyle scriptstyle quad qquad thinspace medspace thickspace negthinspace enspace enskip space limits "
    "nolimits rm it bf sf tt large Large LARGE small normalsize huge Huge hfill noindent",
}
COMMANDS = {name: spelling for spelling, names in _SYNONYMS.items() for name in names.split()}
COMMAND = re.compile(rf"\\({'|'.join(sorted(COMMANDS, key=len, reverse=True))})(?![A-Za-z])")
