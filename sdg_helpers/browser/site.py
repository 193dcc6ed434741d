"""What the page may ask for, whether it is served or written to a folder: the run, the table, a problem, the court."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from sdg_helpers.browser import columns
from sdg_helpers.browser.court import Court
from sdg_helpers.browser.index import Progress, facts_of, open_index, read_only
from sdg_helpers.browser.problem import CUT, Problems
from sdg_helpers.browser.queries import PAGE_ROWS, Query, Values, flags_of
from sdg_helpers.browser.request import Requests
from sdg_helpers.browser.sources import find_sources
from sdg_helpers.errors import SdgError
from sdg_helpers.runs.run import Track


class Site:
    """One track of a run, indexed. Every method answers one request, from any thread."""

    def __init__(self, track: Track, on_progress: Progress = lambda done, total: None):
        """Build the index unless there is one. Raises SdgError when the track has no problems."""
        self.track, self._run = track, track.folder.parent
        self._index = open_index(find_sources(track), on_progress)
        self._requests, self._court = Requests(track), Court(self._run)

    def run(self) -> dict[str, Any]:
        """Return what the page says of the whole track, and the columns of its table."""
        with closing(read_only(self._index)) as database:
            facts = facts_of(database)
        return {
            "run": self._run.name,
            "track": self.track.name,
            "columns": columns.describe(),
            "page_rows": PAGE_ROWS,
            "request": self._requests.settings,
            "unreadable": facts["unreadable"],
            "export": facts["export"],
            **facts["overview"],
        }

    def table(self, values: Values, limit: int = PAGE_ROWS) -> dict[str, Any]:
        """Return {"total", "rows"}: how many problems pass the filters, and one page of them; see `Query`."""
        with closing(read_only(self._index)) as database:
            query = Query(values, flags_of(facts_of(database)))
            return {"total": query.count(database), "rows": query.rows(database, limit)}

    def problem(self, position: int, cut: int = CUT, thinking: bool = False) -> dict[str, Any]:
        """Return one problem with its solutions and its request."""
        with self._problems(cut) as problems:
            messages, note = self._requests.messages(problems.row(position))
            sent = [{"role": one["role"], "content": problems.shorten(one["content"])} for one in messages]
            return {**problems.problem(position, thinking), "messages": sent, "messages_note": note}

    def text(self, position: int, seed: int | None, part: str, start: int) -> dict[str, Any]:
        """Return a further piece of a long text."""
        with self._problems() as problems:
            return problems.text(position, seed, part, start)

    def docket(self) -> dict[str, Any]:
        """Return the court's cases and the decisions on them."""
        with closing(read_only(self._index)) as database:
            return self._court.docket(database)

    def decide(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Record a decision of the court."""
        with closing(read_only(self._index)) as database:
            return self._court.decide(database, Problems(database, self._run), given)

    @contextmanager
    def _problems(self, cut: int = CUT) -> Iterator[Problems]:
        with closing(read_only(self._index)) as database:
            yield Problems(database, self._run, cut)


@dataclass(frozen=True)
class Question:
    """A request of the page: its parameters as numbers. Raises SdgError for those that are none."""

    values: Values

    def number(self, name: str) -> int:
        """Return a parameter that must be given."""
        found = self.optional(name)
        if found is None:
            raise SdgError(f"the parameter {name} is missing.")
        return found

    def optional(self, name: str) -> int | None:
        """Return a parameter, or None when it is not given."""
        text = self.values.get(name, [""])[-1]
        if not text:
            return None
        if not text.isascii() or not text.isdecimal() or len(text) > 15:
            raise SdgError(f"{name}: expected a number, found {text[:40]!r}.")
        return int(text)

    def word(self, name: str) -> str:
        """Return a parameter as text, "" when it is not given."""
        return self.values.get(name, [""])[-1]


def answer(site: Site, name: str, values: Values) -> Any:
    """Return the answer to a GET request of the page. Raises SdgError for one that makes no sense."""
    ask = Question(values)
    answers: dict[str, Callable[[], Any]] = {
        "run": site.run,
        "table": lambda: site.table(values),
        "problem": lambda: site.problem(ask.number("position")),
        "text": lambda: site.text(
            ask.number("position"), ask.optional("seed"), ask.word("part"), ask.optional("start") or 0
        ),
        "docket": site.docket,
    }
    if name not in answers:
        raise SdgError(f"there is nothing called {name[:40]!r}.")
    return answers[name]()
