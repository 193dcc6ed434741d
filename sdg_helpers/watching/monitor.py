"""Look at a run while `sdg run` executes it: write its metrics, and tell people what happens."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path
from types import TracebackType

from sdg_helpers.errors import SdgError
from sdg_helpers.profiles import Profile
from sdg_helpers.watching.notifying import news, notify
from sdg_helpers.watching.run_view import RunView, view_run

_LOOK_S = 15.0


class Monitor:
    """Looks now and then while its `with` block runs. Does nothing for a profile that asks for nothing.

    Jobs are seen as their driver recorded them: Slurm is not asked a second time.
    """

    def __init__(self, run: Path, profile: Profile, look_s: float = _LOOK_S):
        """run: the run's folder."""
        self._run, self._command, self._look_s = run, profile.notify, look_s
        self._metrics = profile.metrics_folder and Path(profile.metrics_folder).expanduser() / f"sdg-{run.name}.prom"
        self._stopped, self._warned = threading.Event(), False
        self._before = RunView(run.name)
        self._thread = threading.Thread(target=self._watch, name="monitor", daemon=True)

    def __enter__(self) -> Monitor:
        if self._command or self._metrics:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._command or self._metrics:
            self._look()
        if kind is None:
            self._tell("run complete", f"{self._run.name}: complete")
        elif not issubclass(kind, KeyboardInterrupt):
            self._tell("run stopped", f"{self._run.name}: stopped: {error}")

    def _watch(self) -> None:
        while not self._stopped.wait(self._look_s):
            self._look()

    def _look(self) -> None:
        """Look once. A file that cannot be read or written is warned of once: the run itself reports damage."""
        from sdg_helpers.watching.metrics import write_metrics

        try:
            view = view_run(self._run, ask_slurm=False)
            if self._metrics:
                write_metrics(view, self._metrics)
            found, self._before = news(self._before, view), view
        except (SdgError, OSError) as error:
            if not self._warned:
                self._warned = True
                warnings.warn(f"the run is not monitored: {error}", stacklevel=2)
            return
        for event, message in found:
            self._tell(event, message)

    def _tell(self, event: str, message: str) -> None:
        if self._command:
            notify(self._command, self._run.name, event, message)
