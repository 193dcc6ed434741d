"""Seeded schedules of disasters on whole runs, and what must hold at the end of each.

In the end the run is complete, and every file has the same content as after an undisturbed run: each (id, seed) once,
no row altered, counts that add up. What was damaged is refused by the next stage, which names the stage and the
remedy, or is found by `verify`; the repair makes it again.
"""

import importlib
import random
import shutil
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sdg_helpers import files
from sdg_helpers.runs import repair, verify
from tests.helpers.disasters import KINDS
from tests.helpers.forks import exit_code, run_in_child
from tests.helpers.standin import StandIn
from tests.helpers.whole_run import STAGES, contents, counts, run_after_repair, run_stages, write_source

SIZES = ((8, 2), (12, 3))  # (problems, seeds)
FAULTS = (
    "",
    "429=0.2,503=0.1",
    "500=0.2,disconnect=0.1,cut_json=0.1",
    "garbage=0.1,empty=0.1,no_message=0.1,truncated=0.1,huge=0.001",
    "duplicate=0.2,late_copy=0.1,error_200=0.1",
    "hang=0.02,abort=0.1,parts=0.1",
)
_LATENCY = "tail:0.003:0.03:0.1"
_HUNG_S = 120
ENDED = {0: "ended", 3: "was refused", 4: "raised", None: "hung", -9: "was killed"}


class Campaign:
    """The servers, one a set of faults, and the undisturbed runs to compare with. Use it in a `with` statement.

    A server's texts depend on prompt and seed alone, so all give the same ones.
    """

    def __init__(self, folder):
        self.folder, self._servers, self._calm = Path(folder), {}, {}

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for server in self._servers.values():
            server.stop()

    def server(self, faults):
        if faults not in self._servers:
            self._servers[faults] = StandIn(latency=_LATENCY, accuracy=0.6, faults=faults).start()
        return self._servers[faults]

    def restart_server(self, faults):
        self._servers[faults] = self._servers[faults].again()
        return self._servers[faults]

    def source(self, size):
        path = self.folder / f"problems-{size[0]}.jsonl"
        return path if path.exists() else write_source(path, size[0])

    def calm(self, size):
        """Return (contents, counts) of an undisturbed run."""
        if size not in self._calm:
            folder, url = self.folder / f"calm-{size[0]}-{size[1]}", self.server("").base_url
            loaded = self.folder / "loaded"

            def work():
                run_stages(folder, self.source(size), url, size[1])
                loaded.write_text("\n".join(sys.modules))

            assert exit_code(run_in_child(work), _HUNG_S) == 0, "the undisturbed run failed"
            for name in loaded.read_text().split():  # so that no later fork loads them again, which takes seconds
                with suppress(Exception):
                    importlib.import_module(name)
            self._calm[size] = contents(folder), counts(folder)
        return self._calm[size]

    def play(self, number, disasters=None):
        """Play the schedule of this number, or these disasters in its place; return it."""
        schedule = Schedule(self, number)
        schedule.play(disasters)
        return schedule


@dataclass
class Schedule:
    """One run and its disasters. violations: what should not have happened; found: how each damage came to light."""

    campaign: Campaign
    number: int
    kinds: list = field(default_factory=list)
    violations: list = field(default_factory=list)
    found: Counter = field(default_factory=Counter)
    silent: bool = False

    def __post_init__(self):
        self.rng = random.Random(self.number)
        self.size = self.rng.choice(SIZES)
        self.folder = self.campaign.folder / f"run-{self.number}"
        self.track, self.report = self.folder / "math", self.campaign.folder / f"report-{self.number}"
        self.change_server()
        self._damaged = {}  # path -> whether only `verify` may find it
        self._steps = []

    def play(self, disasters=None):
        calm, calm_counts = self.campaign.calm(self.size)
        for disaster in disasters or self._draw():
            self._steps.append(disaster.__name__)
            disaster(self)
        self._end()
        if not self.violations:
            self._compare(calm, calm_counts)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.report.unlink(missing_ok=True)

    def _draw(self):
        kinds = self.rng.choices(list(KINDS), weights=[3, 1, 2, 1, 2, 4], k=self.rng.randint(1, 4))
        self.kinds = sorted(set(kinds))
        return [self.rng.choice(KINDS[kind]) for kind in kinds]

    def _end(self):
        """Run on to the end, with a repair where a stage or `verify` asks for one."""
        code = self.wait(self.start())
        self._check_unnoticed(code)
        damage = [problem for one in verify.verify_run(self.folder) for problem in one.problems]
        if code == 3 and self._damaged:
            self.found["the next stage"] += 1
            self._check_message()
        elif code == 0 and damage:
            self.found["sdg verify"] += 1
        elif code == 0:
            self.found.update(["no damage left"] if self._damaged else [])
            return
        else:
            return self.fail(f"the last run {ENDED.get(code, code)}: {self.message()}")
        if self.wait(self._fork(self._repair)) != 0:
            self.fail(f"the repair failed: {self.message()}")
        if left := [problem for one in verify.verify_run(self.folder) for problem in one.problems]:
            self.fail(f"damage is left after the repair: {left}")

    def _check_unnoticed(self, code):
        """What is missing, cut or edited must stop the run; only bits that rot may need `verify`."""
        present = [path for path, may_go_unnoticed in self._damaged.items() if not may_go_unnoticed]
        for one in verify.verify_run(self.folder) if code == 0 else ():
            for path in present:
                if one.name == f"math/{path.parent.name}" and any(path.name in text for text in one.problems):
                    self.fail(f"the run says complete although {one.name}/{path.name} is damaged")

    def _repair(self):
        list(repair.set_back_damaged(self.folder))
        run_after_repair(self.folder, self.campaign.source(self.size), self.server.base_url, self.size[1])

    def _check_message(self):
        text, stages = self.message(), {path.relative_to(self.track).parts[0] for path in self._damaged}
        if not any(f"/{stage}" in text for stage in stages) or not any(
            way in text for way in ("sdg repair", "then run")
        ):
            self.fail(f"the error names no damaged stage ({', '.join(sorted(stages))}) or no remedy: {text}")

    def _compare(self, calm, calm_counts):
        now = contents(self.folder)
        self.silent = now != calm
        if different := sorted(name for name in {*now, *calm} if now.get(name) != calm.get(name)):
            self.fail(f"other content than after an undisturbed run: {different}")
        if counts(self.folder) != calm_counts:
            self.fail(f"other counts than after an undisturbed run: {counts(self.folder)}")
        for stage in ("solutions", "genselect_solutions"):
            rows = [(row["id"], row["seed"]) for path in self._seeds(stage) for row in files.read_jsonl(path)]
            if len(set(rows)) != len(rows) or len(rows) != calm_counts[stage]["rows_out"]:
                self.fail(f"{stage}: {len(rows)} rows, {len(set(rows))} different ones")
        for stage, one in counts(self.folder).items():
            if one["rows_in"] != one["rows_out"] + sum(one["dropped"].values()):
                self.fail(f"{stage}: the counts do not add up: {one}")

    def _seeds(self, stage):
        return sorted((self.track / stage).glob("output-rs*.jsonl"))

    def fail(self, text):
        self.violations.append(f"schedule {self.number} ({' → '.join(self._steps)}): {text}")

    # what disasters use

    def start(self, upto=STAGES[-1], first=lambda: None, limit_bytes=None):
        """Start the run in a fork; return its pid. first: called in it before anything else."""

        def work():
            first()
            run_stages(self.folder, self.campaign.source(self.size), self.server.base_url, self.size[1], upto)

        return self._fork(work, limit_bytes)

    def _fork(self, work, limit_bytes=None):
        self.report.unlink(missing_ok=True)
        return run_in_child(work, limit_bytes, self.report)

    def wait(self, pid):
        return exit_code(pid, _HUNG_S)

    def message(self):
        return self.report.read_text() if self.report.exists() else ""

    def expect(self, pid, codes):
        """Wait for a fork. It may end in these ways, a plain error (3) among them, but never in a traceback (4)."""
        if (code := self.wait(pid)) not in codes:
            self.fail(f"the run {ENDED.get(code, code)}: {self.message()}")

    def change_server(self):
        self.faults = self.rng.choice(FAULTS)
        self.server = self.campaign.server(self.faults)

    def restart_server(self):
        self.server = self.campaign.restart_server(self.faults)

    def choose(self, *patterns):
        """Return one file of any stage that matches a pattern, in a list; [] when there is none."""
        found = sorted(path for stage in STAGES for one in patterns for path in (self.track / stage).glob(one))
        return [self.rng.choice(found)] if found else []

    def outputs(self):
        """Return the files of the finished stages."""
        found = []
        for stage in STAGES:
            try:
                outputs = (files.read_json(self.track / stage / "manifest.json") or {}).get("outputs", {})
            except Exception:  # a damaged manifest
                continue
            found += [path for name in outputs if (path := self.track / stage / name).is_file()]
        return found

    def choose_output(self):
        found = self.outputs()
        return [self.rng.choice(found)] if found else []

    def damaged(self, path, may_go_unnoticed=False):
        self._damaged[path] = may_go_unnoticed and self._damaged.get(path, True)
