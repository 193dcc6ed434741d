"""JupyterLab in a real browser: `make lab`, Run All, an interrupt, hostile texts, folded answers."""

import json
import sys
import time

import nbformat
import pytest

from tests.helpers.browsing import HOSTILE
from tests.helpers.clone import ROOT
from tests.helpers.lab import PROFILE, LabNotebook, lab_environment, make_lab, make_workspace, sdg_in, sdg_lab
from tests.helpers.standin import StandIn

LAB = ".jp-Notebook .jp-Cell"
CUT = "[...document.querySelectorAll('.jp-DirListing-itemText')].filter((one) => one.scrollWidth > one.clientWidth)"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """(workspace, environment, addresses of notebooks) with a finished run `demo` of the scripted model."""
    folder = tmp_path_factory.mktemp("lab")
    env = lab_environment(folder)
    with StandIn(accuracy=0.9) as server:
        workspace = make_workspace(folder / "work", server.base_url, env)
        sdg_in(workspace, env, "run", "math", "--to", "07")
        with sdg_lab(workspace, env, folder / "log") as address:
            yield workspace, env, address


@pytest.mark.parametrize("name", ["03_generate_solutions", "05_relabel_with_majority", "07_export_sft"])
def test_run_all_shows_figures_and_no_complaint(lab, visit, name):
    _, _, address = lab
    seen = visit(address(f"math/{name}.ipynb"), ready=LAB)
    notebook = LabNotebook(seen)
    assert seen.page.evaluate(f"{CUT}.length") == 0  # the names of all notebooks can be read
    notebook.run_all()
    outputs = [output for cell in notebook.cells() for output in cell["outputs"]]
    assert [one for one in outputs if one["output_type"] == "error" or one.get("name") == "stderr"] == []
    assert sum("image/png" in one.get("data", {}) for one in outputs) >= 2
    notebook.picture(f"lab-{name}")
    answers = seen.page.locator(".jp-RenderedMarkdown details")
    assert answers.count() == 3
    for answer in answers.all():
        assert answer.locator("pre").first.is_hidden() if answer.locator("pre").count() else True
        answer.locator("summary").click()
        assert answer.locator("p").last.is_visible()
    assert seen.trouble == [] and seen.elsewhere(address("").partition("/lab")[0]) == []


def copied(workspace, url):
    """Copy Math 03 as JupyterLab does, with another run and a profile for a slow server."""
    profiles, math = workspace / "notebooks" / "profiles", workspace / "notebooks" / "math"
    (profiles / "slow.yaml").write_text(PROFILE.format(url=url))
    notebook = nbformat.read(math / "03_generate_solutions.ipynb", 4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    for name in ("RUN", "PROFILE"):
        first.source = first.source.replace(f'{name}: str = "demo"', f'{name}: str = "slow"')
    nbformat.write(notebook, math / "03_generate_solutions-Copy1.ipynb")


def test_an_interrupt_is_one_plain_line_and_run_all_goes_on(lab, visit):
    workspace, env, address = lab
    with StandIn(accuracy=0.9, latency=0.3) as server:
        copied(workspace, server.base_url)
        sdg_in(workspace, env, "run", "math", "--profile", "slow", "--run", "slow", "--to", "01")
        seen = visit(address("math/03_generate_solutions-Copy1.ipynb"), ready=LAB)
        notebook, page = LabNotebook(seen), seen.page
        notebook.choose("Run", "Run All Cells")
        bar = page.locator(".jp-OutputArea progress")
        bar.wait_for(timeout=60_000)
        page.wait_for_function("() => document.querySelector('.jp-OutputArea progress').value > 4", timeout=60_000)
        bar.scroll_into_view_if_needed()
        seen.shot("lab-bar")
        page.click("jp-button[data-command='notebook:interrupt-kernel']")
        line = page.locator(".jp-OutputArea", has_text="Interrupted.")
        line.wait_for(timeout=60_000)
        line.scroll_into_view_if_needed()
        seen.shot("lab-interrupted")
        stopped = next(cell for cell in notebook.cells() if "Interrupted." in json.dumps(cell["outputs"]))
        assert [one["output_type"] for one in stopped["outputs"]] == ["display_data", "stream"]
        assert stopped["outputs"][1]["text"].splitlines() == [
            "Interrupted. Finished rows are kept: run this cell again to go on where it stopped."
        ]
        kept = server.stats()["requests"]
        assert 4 < kept < 90 and notebook.cells()[-1]["execution_count"] is None  # Run All stopped there
        notebook.run_all()
        assert server.stats()["requests"] <= 100 + 4  # what was in flight, again
        assert "Interrupted." not in json.dumps(notebook.cells())
        assert seen.trouble == []
    sdg_in(workspace, env, "run", "math", "--run", "slow", "--from", "02", "--to", "03")  # a copy disturbs no command


def test_hostile_texts_do_nothing_in_a_notebook(lab, visit):
    workspace, _, address = lab
    cell = f"from sdg_helpers import viewer\ntexts = {HOSTILE!r}\n"
    rows = "[{'name': name, 'text': text} for name, text in texts.items()]"
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(f"{cell}viewer.show_table({rows})"),
            nbformat.v4.new_code_cell(cell + "viewer.show_table([texts], limit=10_000)"),
            nbformat.v4.new_code_cell(cell + "viewer.show_boxes(viewer.box(text, text) for text in texts.values())"),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(notebook, workspace / "notebooks" / "hostile.ipynb")
    seen = visit(address("hostile.ipynb"), ready=LAB)
    lab_notebook = LabNotebook(seen)
    lab_notebook.run_all()
    lab_notebook.picture("lab-hostile", height=3000)
    assert "owned" not in seen.page.title() and seen.page.locator(".MathJax").count() == 0
    inside = ".jp-OutputArea-output script, .jp-OutputArea-output img, .jp-OutputArea-output iframe, "
    inside += ".jp-OutputArea-output [onload], .jp-OutputArea-output [onclick], .jp-OutputArea-output [onerror], "
    inside += ".jp-OutputArea-output [href^=javascript]"
    assert seen.page.locator(inside).count() == 0
    assert seen.elsewhere(address("").partition("/lab")[0]) == []


def test_make_lab_opens_00_with_the_kernel_of_this_environment(tmp_path, visit):
    opener, opened = tmp_path / "open", tmp_path / "opened"
    opener.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    opener.chmod(0o755)
    env = {**lab_environment(tmp_path), "BROWSER": f"{opener} %s"}
    with make_lab(env, tmp_path / "log"):
        deadline = time.monotonic() + 60
        while not opened.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        seen = visit(opened.read_text().strip(), ready=LAB)
        notebook = LabNotebook(seen)
        assert seen.page.locator(".jp-NotebookPanel:visible h1").inner_text().startswith("00: start here")
        kernel = "jupyterapp.shell.currentWidget.sessionContext.session.kernel"
        prefix = seen.page.evaluate(
            f"""async () => {{
                const asked = {kernel}.requestExecute({{code: '', user_expressions: {{
                    prefix: '__import__("sys").prefix', root: '__import__("os").getcwd()'}}}});
                const found = (await asked.done).content.user_expressions;
                return [found.prefix.data['text/plain'], found.root.data['text/plain']];
            }}"""
        )
        assert prefix == [repr(sys.prefix), repr(str(ROOT / "notebooks"))]
        notebook.seen.shot("lab-start")
        assert seen.trouble == []
