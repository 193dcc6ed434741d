"""A run's figures as a file that Prometheus' node exporter reads (its textfile collector)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, write_to_textfile
from prometheus_client.core import GaugeMetricFamily

from sdg_helpers.files import disk_errors
from sdg_helpers.watching.run_view import RunView
from sdg_helpers.watching.server_lines import ServerLine
from sdg_helpers.watching.stage_view import StageView

_STAGE: dict[str, tuple[str, Callable[[StageView], float | None]]] = {
    "rows_done": ("Rows of a stage that are done.", lambda view: view.done),
    "rows_total": ("Rows of a stage.", lambda view: view.total),
    "requests_failed": ("Requests that were given up.", lambda view: view.failed),
    "tokens_per_second": ("Tokens that all servers generate in a second.", lambda view: view.tokens_per_s),
    "eta_seconds": ("Time until the stage is done.", lambda view: view.eta_s),
}
_SERVER: dict[str, tuple[str, Callable[[ServerLine], float | None]]] = {
    "up": ("Whether the server is at work.", lambda line: line.state in ("at work", "draining")),
    "slow": ("Whether it generates less than half as fast as the median one.", lambda line: line.slow),
    "tokens_per_second": ("Tokens that it generates in a second.", lambda line: line.tokens_per_s),
    "latency_p50_seconds": ("Median time of its replies.", lambda line: line.latency_p50_s),
    "requests_in_flight": ("Requests that it was sent and has not answered.", lambda line: line.in_flight),
    "requests_running": ("Running requests, as SGLang counts them.", lambda line: line.running),
    "requests_queued": ("Queued requests, as SGLang counts them.", lambda line: line.queued),
    "cache_hit_ratio": ("Hit rate of SGLang's prefix cache.", lambda line: line.cache_hit),
    "restarts": ("How often it began again.", lambda line: line.restarts),
}


def write_metrics(view: RunView, path: Path) -> None:
    """Replace the file, whose name must end in .prom. Raises SdgError when it cannot be written."""
    registry = CollectorRegistry()
    registry.register(_Families(view))
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_to_textfile(str(path), registry)


class _Families:
    """A collector of prometheus_client: figures that are collected once."""

    def __init__(self, view: RunView):
        self._view = view

    def collect(self) -> Iterator[GaugeMetricFamily]:
        stages = [([self._view.run, view.stage], view) for view in self._view.stages]
        servers = [([*labels, str(line.number), line.node], line) for labels, view in stages for line in view.servers]
        for name, (text, of_stage) in _STAGE.items():
            yield _family(f"sdg_{name}", text, ["run", "stage"], [(labels, of_stage(one)) for labels, one in stages])
        names = ["run", "stage", "server", "node"]
        for name, (text, of_server) in _SERVER.items():
            yield _family(f"sdg_server_{name}", text, names, [(labels, of_server(one)) for labels, one in servers])


def _family(
    name: str, text: str, labels: Sequence[str], values: Sequence[tuple[Sequence[str], float | None]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for words, value in values:
        if value is not None:
            family.add_metric(words, float(value))
    return family
