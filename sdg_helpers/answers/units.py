r"""Read an answer with a unit: `5\text{ cm}`, `\$7`, `60^\circ`, `25\%`, `36 eggs`."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_KINDS = {
    "length": "mm=millimeter,millimetre cm=centimeter,centimetre dm=decimeter,decimetre m=meter,metre km=kilometer,"
    "kilometre in=inch,inches ft=foot,feet yd=yard mi=mile nm=nanometer,nanometre",
    "time": "s=sec,second ms=millisecond min=minute h=hr,hour day week month year,yr decade century,centuries",
    "mass": "mg=milligram g=gram kg=kilogram t=ton,tonne lb=lbs,pound oz=ounce",
    "volume": "ml=mL,milliliter,millilitre cl=cL,centiliter l=L,liter,litre gal=gallon qt=quart pt=pint cup "
    "tsp=teaspoon tbsp=tablespoon",
    "money": r"dollar=\$,$,USD cent=¢ euro=€,EUR pound_sterling=£,GBP yen=¥,yuan,RMB rupee=₹,Rs",
    "angle": r"degree=^{\circ},deg rad=radian",
    "temperature": r"celsius=^{\circ}C fahrenheit=^{\circ}F kelvin",
    "share": "%=percent",
    "area": "acre hectare,ha",
    "speed": "mph kph=kmph,kmh",
    "force": "newton",
    "energy": "joule,J cal=calorie kcal kJ kWh",
    "power": "watt,W kW=kilowatt",
    "voltage": "volt,V",
    "current": "ampere,amp",
    "pressure": "Pa=pascal kPa atm",
    "frequency": "Hz=hertz kHz",
    "amount": "mol=mole",
    "score": "dozen,dozens",
}


class Unit(NamedTuple):
    """name: one name for all spellings. kind: what it measures; `noun` for things that are counted."""

    name: str
    kind: str


def _build_table() -> dict[str, Unit]:
    table: dict[str, Unit] = {}
    for kind, names in _KINDS.items():
        for entry in names.split():
            first, _, others = entry.partition("=")
            spellings = [*first.split(","), *filter(None, others.split(","))]
            for spelling in spellings:
                for form in (spelling, f"{spelling}s") if len(spelling) > 2 and spelling.isalpha() else (spelling,):
                    table[form] = Unit(spellings[0], kind)
    return table


_TABLE = _build_table()
_PART = r"(?:(?:square|sq|cubic|cu) ?)?[A-Za-z]+(?:\^\{?[23]\}?| ?squared| ?cubed)?"
_SUFFIX = re.compile(
    rf"(.*[\d)}}!])((?:{_PART})(?: ?(?:/|per(?![a-z])) ?{_PART})?|\^\{{\\circ\}}[CF]?|[%€£¥₹¢])", re.DOTALL
)
_PREFIX = re.compile(r"([+-]?)(\\\$|[€£¥₹])([+-]?.*\d.*)", re.DOTALL)
_POWER = re.compile(r"(square|sq|cubic|cu)? ?([A-Za-z]+?)(?:\^\{?([23])\}?| ?(squared|cubed))?")
_EXPONENTS = {"square": "2", "sq": "2", "cubic": "3", "cu": "3", "squared": "2", "cubed": "3"}
_SET_APART = re.compile(r"\\(?:text|mathrm|mbox|operatorname|textrm|,|;| |quad)|~|[\d)}$]\s+[A-Za-z]")
_WORD = re.compile(r"[A-Za-z]+|[%€£¥₹¢°]|\\%")
_AMOUNT = re.compile(r"\d\s?([A-Za-z]{1,2})\b")
_HOW_MANY = re.compile(r"\bhow many\b", re.IGNORECASE)
_PERCENT_ASKED = re.compile(
    r"\b(?:what|which|as an?|in|the|how many|find(?: the)?)\s+(?:\w+\s+)?percent", re.IGNORECASE
)
_DOLLARS = re.compile(r"\\\$|\bdollars?\b", re.IGNORECASE)


def split_unit(answer: str, tidied: str) -> tuple[str, str, Unit] | None:
    """Return (value, unit as it is compared, unit of its first part) of an answer with a unit, or None.

    answer: as written: a single letter is a unit only if a space or a text command sets it apart.
    """
    prefix = _PREFIX.fullmatch(tidied)
    if prefix:
        unit = _TABLE[prefix[2].replace("\\$", "$")]
        return prefix[1] + prefix[3], unit.name, unit
    suffix = _SUFFIX.fullmatch(tidied)
    if suffix is None:
        return None
    value, text = suffix[1], suffix[2]
    if text in _TABLE and (len(text) > 1 or not text.isalpha() or _SET_APART.search(answer)):
        return value, _TABLE[text].name, _TABLE[text]
    compound = _read_compound(text, bool(_SET_APART.search(answer)))
    if compound:
        return value, *compound
    if re.fullmatch(r"[a-z]{3,}(?: [a-z]{3,})?", text) and value[-1].isdigit() and _SET_APART.search(answer):
        return value, text, Unit(text, "noun")
    return None


def _read_compound(text: str, set_apart: bool) -> tuple[str, Unit] | None:
    """Read `km/h`, `m^{2}`, `miles per hour`, `square feet`."""
    names, units = [], []
    for part in re.split(r" ?(?:/|\bper\b) ?", text):
        power = _POWER.fullmatch(part)
        if power is None or power[2] not in _TABLE or (len(power[2]) == 1 and not set_apart):
            return None
        exponent = _EXPONENTS.get(power[1] or power[4] or "", power[3] or "")
        units.append(_TABLE[power[2]])
        names.append(units[-1].name + (f"^{exponent}" if exponent else ""))
    return "/".join(names), units[0]


def unit_goes_without_saying(name: str, unit: Unit, problem: str) -> bool:
    """Return whether an answer in this unit certainly means the same as the bare number.

    The problem must mention no other unit of its kind. Without a problem, any unit but percent may be left out.
    """
    if not problem:
        return unit.kind != "share"
    if unit.kind == "share":
        return bool(_PERCENT_ASKED.search(problem))
    if unit.kind == "noun":
        noun = re.escape(unit.name.split()[-1])
        asked = re.search(rf"\bhow many (?:[\w-]+ ){{0,2}}{noun}\b", problem, re.IGNORECASE)
        return bool(asked) and len(_HOW_MANY.findall(problem)) == 1
    mentioned = _mentioned_units(problem)
    names = {re.sub(r"\^\d", "", part) for part in name.split("/")}
    kinds = {entry.kind for entry in mentioned if entry.name in names} | {unit.kind}
    return {entry.name for entry in mentioned if entry.kind in kinds} == names


@lru_cache(maxsize=256)
def _mentioned_units(problem: str) -> frozenset[Unit]:
    found = {
        _TABLE[word] for word in _WORD.findall(problem) if word in _TABLE and (len(word) > 2 or not word.isalpha())
    }
    found |= {_TABLE[word.lower()] for word in _WORD.findall(problem) if len(word) > 2 and word.lower() in _TABLE}
    found |= {_TABLE[word] for word in _AMOUNT.findall(problem) if word in _TABLE}
    if "°" in problem or r"\circ" in problem or "angle" in problem.lower():
        found.add(_TABLE["degree"])
    if _DOLLARS.search(problem) or ("$" in problem and not re.search(r"[\w)}]\$", problem)):
        found.add(_TABLE["$"])
    return frozenset(found)
