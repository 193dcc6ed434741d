"""What a cell shows in JupyterLab while it works, in a real kernel: bars, and one line for an interrupt."""

import os
import time

import pytest
from jupyter_client.manager import start_new_kernel

from sdg_helpers.paths import PACKAGE

BARS = """
from sdg_helpers.notebooks.cells import CellBar, explain_interrupts
explain_interrupts()
bar = CellBar()
bar.show("loading <b>m</b>")
bar.show("rows", 3, 12)
bar.close("done & ready")
"""


class Kernel:
    """A kernel like that of JupyterLab, or with SDG_OWNER_PID, of `sdg run`."""

    def __init__(self, **variables):
        environment = {name: value for name, value in os.environ.items() if name != "SDG_OWNER_PID"}
        environment["PYTHONPATH"] = str(PACKAGE.parent)
        self.manager, self.client = start_new_kernel(kernel_name="python3", env={**environment, **variables})

    def run(self, code, interrupt=False):
        """Return (status of the reply, messages) of a cell; interrupt: once it has printed something."""
        found, sent = [], self.client.execute(code)
        while True:
            message = self.client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") != sent:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                break
            found.append((kind, content))
            if interrupt and kind == "stream" and content["name"] == "stdout":
                time.sleep(0.1)
                self.manager.interrupt_kernel()
        while (reply := self.client.get_shell_msg(timeout=60))["parent_header"].get("msg_id") != sent:
            pass
        return reply["content"]["status"], found

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def lab():
    kernel = Kernel()
    yield kernel
    kernel.close()


def test_a_bar_moves_below_the_cell_and_ends_with_a_line(lab):
    _, found = lab.run(BARS)
    shown = [content["data"]["text/html"] for kind, content in found if kind in ("display_data", "update_display_data")]
    assert [kind for kind, _ in found].count("display_data") == 1
    assert "<progress style" in shown[0] and "loading &lt;b&gt;m&lt;/b&gt;" in shown[0]
    assert "value='3' max='12'" in shown[1] and shown[-1].endswith("done &amp; ready</div>")


def test_an_interrupt_is_one_plain_line_and_the_cell_counts_as_failed(lab):
    lab.run(BARS)
    status, found = lab.run("import time\nprint('begun', flush=True)\ntime.sleep(600)", interrupt=True)
    assert status == "error" and "error" not in [kind for kind, _ in found]
    said = [content["text"] for kind, content in found if kind == "stream" and content["name"] == "stderr"]
    assert said == ["Interrupted. Finished rows are kept: run this cell again to go on where it stopped.\n"]


def test_sdg_run_shows_progress_itself():
    kernel = Kernel(SDG_OWNER_PID=str(os.getpid()))
    try:
        assert [kind for kind, _ in kernel.run(BARS)[1]] == ["status", "execute_input"]
    finally:
        kernel.close()
