"""Notebooks run in order in real kernels, are skipped when up to date, and stop cleanly."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import nbformat
import psutil
import pytest

from sdg_helpers import files, notebooks, processes, runs
from sdg_helpers.cli.main import main as cli_main
from sdg_helpers.errors import SdgError
from sdg_helpers.notebooks import discovery, execution, failures, freshness, kernels, progress_line
from sdg_helpers.paths import PACKAGE
from sdg_helpers.runs.status import run_status
from tests.helpers.clone import OPEN, PARAMETERS, command, environment, make_clone, sdg, write_notebook
from tests.helpers.watching import eventually

ENV_CELL = 'print(os.getcwd(), os.environ["SDG_OWNER_PID"], RUN)'


@pytest.fixture
def clone(tmp_path, monkeypatch):
    monkeypatch.delenv("SDG_OUTPUTS", raising=False)
    folder = tmp_path / "a {clone} with spaces"
    folder.mkdir()
    monkeypatch.chdir(make_clone(folder))
    return folder


@pytest.fixture
def run(clone, capsys, monkeypatch):
    """`sdg run` in this process: (exit code, out, err). Starting Python again takes longer than a notebook here."""
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])

    def main(*words, command="run"):
        capsys.readouterr()
        return SimpleNamespace(returncode=cli_main([command, *words]), **capsys.readouterr()._asdict())

    return main


def record(clone, run, notebook="03_generate_solutions"):
    return json.loads((clone / "outputs" / run / "notebooks" / "math" / f"{notebook}.json").read_text())


def texts(path):
    cells = nbformat.read(path, 4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", ()))


def test_a_chain_runs_once_and_again_only_what_changed(clone, run):
    first = run("math", "-p", "NUM_PROBLEMS", "5")
    assert first.returncode == 0, first.err
    lines = first.out.splitlines()
    planned = run("math", "-p", "NUM_PROBLEMS", "5", "-p", "NUM_SEEDS", "3", "--dry-run").out.splitlines()
    assert planned[1] == "math/01_download_problems: complete, nothing to do"
    assert planned[2] == "math/03_generate_solutions: to run with NUM_SEEDS = 3, SLEEP_S = 0.0"
    assert re.fullmatch(r"01 download problems   5/6 rows  [\d.]+s.*", lines[1])
    assert re.fullmatch(r"03 generate solutions  4/5 rows  [\d.]+s.*", lines[2])
    assert first.err == ""
    executed = clone / "outputs" / "demo" / "notebooks" / "math" / "01_download_problems.ipynb"
    assert texts(executed) == f"{clone / 'notebooks' / 'math'}\n"
    assert not executed.with_suffix(".log").exists()

    verbose = run("math", "-p", "NUM_PROBLEMS", "5", "--to", "01", "--again", "-v")
    assert f"\n{clone / 'notebooks' / 'math'}\n01 download problems  5/6 rows" in verbose.out
    quiet = run("math", "-p", "NUM_PROBLEMS", "5", "--quiet")
    assert (quiet.returncode, quiet.out, quiet.err) == (0, "", "")
    again = run("math", "-p", "num-problems", "5")
    assert again.out.count("complete, nothing to do") == 2, again.err

    changed = run("math", "-p", "NUM_PROBLEMS", "6")
    assert changed.returncode == 1
    assert "rows: was 5, now 6" in changed.err and "sdg reset demo math/problems" in changed.err
    assert "Traceback" not in changed.err
    assert changed.err.endswith("Fix the cause, then resume with: sdg run math --run demo -p NUM_PROBLEMS 6\n")

    shown = clone / "notebooks" / "math" / "03_generate_solutions.ipynb"
    shown.write_text(shown.read_text().replace('"# A title"', '"# Another title"'))
    third = run("math", "-p", "NUM_PROBLEMS", "5")
    assert third.returncode == 0 and "03 generate solutions  4/5 rows" in third.out
    assert "01 download problems   5/6 rows" in third.out  # the refused attempt had other parameters

    (clone / "outputs" / "demo" / "math" / "problems" / "problems.jsonl").write_text("changed by hand\n")
    touched = run("math", "--from", "3")
    assert touched.returncode == 1 and "problems.jsonl has 16 bytes; the stage wrote" in touched.err


def test_a_failing_cell_stops_the_chain_and_says_how_to_resume(clone, run):
    failed = run("start", "math", "--run", "f", "-p", "THEN", "raise")
    assert failed.returncode == 1
    assert "03 generate solutions  failed" in failed.out
    err = failed.err
    assert "math/03_generate_solutions failed in cell [4], line 10: 1 / 0\n" in err
    assert "ZeroDivisionError: division by zero" in err and "---> 10     1 / 0" in err and "\x1b" not in err
    assert f"{clone}/outputs/f/notebooks/math/03_generate_solutions.ipynb" in err
    assert "Fix the cause, then resume with: sdg run start math --run f -p THEN raise" in err
    assert record(clone, "f")["error"] == "ZeroDivisionError: division by zero"
    stopped_later = run("f", command="status").out
    assert re.search(
        r"math/solutions +complete +4/5 rows .*its notebook failed later: ZeroDivisionError", stopped_later
    )


@pytest.mark.slow
def test_a_failed_attempt_keeps_the_good_copy_of_a_complete_notebook(clone, run):
    folder = clone / "outputs" / "demo" / "notebooks" / "math"

    def copies():
        return sorted(path.name for path in folder.glob("*.ipynb"))

    only = ["math", "--to", "01", "-p", "NUM_PROBLEMS"]
    run(*only, "5")
    good = (folder / "01_download_problems.ipynb").read_bytes()
    for _ in range(2):  # the second one follows a failed one
        refused = run(*only, "6")
        assert refused.returncode == 1 and f"{folder}/01_download_problems.failed.ipynb" in refused.err
        assert (folder / "01_download_problems.ipynb").read_bytes() == good
        assert copies() == ["01_download_problems.failed.ipynb", "01_download_problems.ipynb"]
    assert run(*only, "5").returncode == 0
    assert copies() == ["01_download_problems.ipynb"] and (folder / "01_download_problems.ipynb").read_bytes() != good


@pytest.mark.slow
@pytest.mark.parametrize("suffix, content", [(".ipynb", b'{"cells": ['), (".json", b'{"state": "com')])
def test_a_damaged_executed_notebook_is_executed_again(clone, run, suffix, content):
    assert run("math").returncode == 0
    good = clone / "outputs" / "demo" / "notebooks" / "math" / "03_generate_solutions.ipynb"
    good.with_suffix(suffix).write_bytes(content)
    assert run("demo", command="status").out.count(" complete ") == 2
    verified = run("demo", command="verify")
    assert verified.returncode == 1 and verified.out.count("executed again") == 1
    assert "03 generate solutions  4/5 rows" in run("demo", command="repair").out
    assert run("demo", command="verify").returncode == 0 and record(clone, "demo")["state"] == "complete"
    assert run("math").out.count("complete, nothing to do") == 2


@pytest.mark.slow
def test_repair_makes_a_damaged_stage_again_with_the_same_parameters(clone, run):
    assert run("math", "-p", "NUM_PROBLEMS", "5").returncode == 0
    path = clone / "outputs" / "demo" / "math" / "problems" / "problems.jsonl"
    before = path.read_bytes()
    path.write_bytes(before[: len(before) // 2])
    failed = run("math", "-p", "NUM_PROBLEMS", "5")
    assert failed.returncode == 1 and "Traceback" not in failed.err
    assert "the finished stage math/problems is damaged" in failed.err and "`sdg repair demo`" in failed.err
    assert "problems.jsonl has " in run("demo", command="status").out
    repaired = run("demo", command="repair")
    assert repaired.returncode == 0 and "01 download problems   5/6 rows" in repaired.out, repaired
    assert path.read_bytes() == before
    assert "Nothing is damaged" in run("demo", command="repair").out


@pytest.mark.parametrize(
    "cell, message",
    [
        ("import os\n\nmath.require('solutions')\nx = 1", "cell [4], line 3: math.require('solutions')\n  SdgError: "),
        (
            "from sdg_helpers.completions import ServerGone as S\nraise S('gone')",
            "line 2: raise S('gone')\n  ServerGone: ",
        ),
        (
            "from sdg_helpers.cluster.exit_codes import TryAgain as T\nraise T(\n    1)",
            "line 2: raise T(\n  TryAgain: 1\n",
        ),
        ("x = (1,\n\n     1 / 0)", "line 3: 1 / 0)\n  ZeroDivisionError   "),
        ("x = 1\n1 +", "line 2: 1 +\n"),
    ],
)
def test_the_failing_line_is_named_and_sdg_errors_omit_the_traceback(clone, run, cell, message):
    write_notebook(clone / "notebooks" / "other" / "01_look.ipynb", PARAMETERS, OPEN, cell)
    failed = run("other").err
    assert message in failed, failed
    assert ("Traceback" in failed or "^" in failed) == ("1 / 0" in cell or "1 +" in cell)


@pytest.mark.parametrize("taken, starts", [(2, 3), (9, 3)])
def test_a_kernel_whose_port_was_taken_is_started_again(clone, monkeypatch, taken, starts):
    """Seen with four kernels starting at once: jupyter chooses a free port, and binds it a moment later."""
    calls = []

    def start_kernel(*_, log, **__):
        calls.append(1)
        if len(calls) <= taken:
            log.write(b"zmq.error.ZMQError: Address already in use (addr='tcp://127.0.0.1:36061')")
            raise RuntimeError("Kernel died before replying to kernel_info")

    monkeypatch.setattr("papermill.execute.execute_notebook", start_kernel)
    notebook = discovery.find("math/01", discovery.discover("math"))
    if taken < starts:
        execution.execute(notebook, clone / "out.ipynb", {})
    else:
        with pytest.raises(failures.NotebookFailed, match="the kernel died"):
            execution.execute(notebook, clone / "out.ipynb", {})
    assert len(calls) == starts


def test_notebooks_that_share_a_kernel_see_no_names_of_each_other(clone):
    folder = clone / "notebooks" / "other"
    write_notebook(folder / "01_one.ipynb", PARAMETERS, "import os\nx = 1\nprint(os.getpid())")
    write_notebook(folder / "02_two.ipynb", PARAMETERS, "assert 'x' not in globals()", "import os\nprint(os.getpid())")
    write_notebook(folder / "03_three.ipynb", PARAMETERS, "1 / 0")
    found = discovery.discover("other")
    printed = []
    with kernels.SharedKernel() as kernel:
        for notebook in found[:2]:
            execution.execute(notebook, clone / "out.ipynb", {}, kernel=kernel)
            cells = nbformat.read(clone / "out.ipynb", 4).cells
            printed += [out.text for cell in cells for out in cell.get("outputs", ())]
            assert cells[1].execution_count == 1
        with pytest.raises(failures.NotebookFailed, match="cell .2., line 1: 1 / 0"):
            execution.execute(found[2], clone / "out.ipynb", {}, kernel=kernel)
    assert len(printed) == 2 and printed[0] == printed[1]
    assert not psutil.pid_exists(int(printed[0]))


def test_all_sdg_errors_are_known():
    """Only the kernel may have imported their modules, not the driver."""
    defined = {
        name
        for path in PACKAGE.rglob("*.py")
        for name in re.findall(r"^class (\w+)\(SdgError\):", path.read_text(), re.MULTILINE)
    }
    code = "from sdg_helpers.notebooks.failures import sdg_error_names; print(*sdg_error_names())"
    known = subprocess.run([sys.executable, "-c", code], env=environment(), check=True, capture_output=True, text=True)
    assert set(known.stdout.split()) == defined | {"SdgError"} and "ServerGone" in defined


@pytest.mark.parametrize(
    "given, file",
    [
        ("mine.jsonl", "mine.jsonl"),
        ("{clone}/mine.jsonl", "mine.jsonl"),
        ("my/prompt.yaml", "my/prompt.yaml"),
        (["a", "mine.jsonl#question"], "mine.jsonl"),
        ("~/nothing", None),
        ("~nobody", None),
        ("x" * 5000, None),
    ],
)
def test_files_that_parameters_name_are_watched(clone, given, file):
    (clone / "my").mkdir()
    for name in ("mine.jsonl", "my/prompt.yaml"):
        (clone / name).write_text("x")
    given = given.format(clone=clone) if isinstance(given, str) else given
    os.chdir(clone / "notebooks" / "math")  # as a kernel; the path is from the clone's root all the same
    wanted = freshness.dependencies(runs.open_run("a"), notebooks.find("01", notebooks.discover()), {"SOURCE": given})
    assert list(wanted["files"]) == ([str(clone / file)] if file else [])


@pytest.mark.slow
def test_a_dead_kernel_is_an_error_not_a_hang(run):
    failed = run("math", "-p", "THEN", "die")
    assert failed.returncode == 1 and "the kernel died" in failed.err and "cell 5 of 5" in failed.err


def start(clone, *words, **more):
    driver = subprocess.Popen(
        command(*words), cwd=clone, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
    )
    progress = clone / "outputs/k/math/solutions/progress.json"
    assert eventually(
        lambda: (files.read_json(progress) or {}).get("done", 0) > 0 or driver.poll() is not None, seconds=300
    )
    assert driver.poll() is None, driver.communicate()
    return driver


def kernel_of(driver):
    """The pid of the driver's kernel; it may have other children."""
    found = psutil.Process(driver.pid).children()
    (kernel,) = (one.pid for one in found if "ipykernel_launcher" in " ".join(one.cmdline()))
    return kernel


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the kernel in /proc")
def test_ctrl_c_stops_the_kernel_and_a_killed_driver_can_be_replaced(clone):
    slow = ["run", "math", "--run", "k", "-p", "NUM_SEEDS", "400", "-p", "SLEEP_S", "2"]
    driver = start(clone, *slow)
    kernel = kernel_of(driver)
    busy = sdg(clone, *slow)
    assert busy.returncode == 2 and f"run 'k' is already running: process {driver.pid}" in busy.stderr
    driver.send_signal(signal.SIGINT)
    out, err = driver.communicate(timeout=300)
    assert driver.returncode == 130 and eventually(lambda: not alive(kernel))
    assert "03 generate solutions  stopped" in out and "Traceback" not in err
    assert "stopped (Ctrl-C)" in err
    assert err.endswith("Finished work is kept. Resume with: sdg run math --run k -p NUM_SEEDS 400 -p SLEEP_S 2\n")
    assert record(clone, "k")["state"] == "interrupted"

    (clone / "outputs/k/math/solutions/progress.json").unlink()
    driver = start(clone, *slow)
    kernel = kernel_of(driver)
    driver.kill()
    driver.communicate()
    after = sdg(clone, "run", "math", "--run", "k", "-p", "NUM_SEEDS", "400")
    assert after.returncode == 0, after.stderr
    assert "03 generate solutions  400/401 rows" in after.stdout and eventually(lambda: not alive(kernel))


def test_a_notebook_whose_stage_is_half_done_is_not_complete(clone):
    stage = runs.open_run("a").track("math").stage("problems")
    with stage.work({}, {}) as work:
        assert not freshness.is_stage_unchanged(stage.folder)  # jobs may still run after their notebook has ended
        work.finish(rows_in=0, rows_out=0)
    assert freshness.is_stage_unchanged(stage.folder)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_stop_the_driver_like_ctrl_c(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt, match=number.name), processes.interrupt_on_signals():
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert signal.getsignal(number) is before


@pytest.mark.slow
def test_a_terminal_sees_one_live_line(clone):
    import pty

    shown, terminal = pty.openpty()
    driver = subprocess.Popen(
        command("run", "math", "-p", "SLEEP_S", "0.3"), cwd=clone, env=environment(), stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    seen = b""
    try:
        while block := os.read(shown, 4096):
            seen += block
    except OSError:  # the terminal's other end is closed
        pass
    assert driver.wait() == 0
    text = seen.decode()
    assert re.search(r"\r03 generate solutions  [123]/4 rows  \d+%  31 tok/s  ETA [\d.]+s  [\d.]+s\x1b\[K\r", text)
    assert re.search(r"\r03 generate solutions  4/5 rows  [\d.]+s  31 tok/s\x1b\[K\r\n", text)
    assert text.count("\n") == 4


def test_the_rate_counts_what_was_done_since_the_notebook_began(clone, capsys):
    """A resumed stage reports the rows of earlier sessions at once."""
    run, notebook = runs.open_run("a"), notebooks.find("03", notebooks.discover())
    folder = run.track("math").solutions
    files.write_json(folder / "begun.json", {})
    line = progress_line.ProgressLine(sys.stdout, notebook, 0, run.folder / "math")

    def text(done, after_s, **more):
        files.write_json(
            folder / "progress.json",
            {"done": done, "total": 1000, "started_at": line._start, "updated_at": line._start + after_s, **more},
        )
        return line._text()

    assert text(800, 0.1).startswith("800/1,000 rows  80%  ") and "ETA" not in text(800, 0.1)
    assert "  1 rows/s  ETA 1m30s  " in text(910, 110.1)
    assert "  2 rows/s  ETA 45s  " in text(910, 110.1, requests_per_s=2)
    text(910, 110.1, requests_per_s=0)
    alone = {one.stage: one for one in run_status(run.folder)}["solutions"]  # knows no first report, and no rate
    assert "910/1,000 rows" in alone.detail and "rows/s" not in alone.detail


def test_kernels_have_the_drivers_folder_and_owner_and_servers_are_stopped(clone, run, monkeypatch):
    write_notebook(clone / "notebooks" / "other" / "01_look.ipynb", PARAMETERS, OPEN, ENV_CELL)
    stopped = []
    monkeypatch.setattr("sdg_helpers.serving.engines.stop_servers", stopped.append)
    (clone / "outputs" / "demo" / "servers").mkdir(parents=True)
    assert run("other").returncode == 0
    executed = clone / "outputs" / "demo" / "notebooks" / "other" / "01_look.ipynb"
    assert texts(executed) == f"{clone / 'notebooks' / 'other'} {os.getpid()} demo\n"
    assert stopped == [clone / "outputs" / "demo" / "servers"] and "SDG_OWNER_PID" not in os.environ
    assert re.search(r"01 look  [\d.]+s\n", run("other", "--again").out)


def test_plain_papermill_refuses_an_unknown_parameter_too(clone, monkeypatch):
    from papermill.exceptions import PapermillExecutionError
    from papermill.execute import execute_notebook

    from sdg_helpers.notebooks.discovery import escape_braces

    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    message = r"this notebook has no parameter NUM_SEED\. Did you mean NUM_SEEDS\?"
    with pytest.raises(PapermillExecutionError, match=message):
        execute_notebook(
            escape_braces(clone / "notebooks/math/03_generate_solutions.ipynb"),
            "out.ipynb",
            {"NUM_SEED": 3},
            progress_bar=False,
        )


def test_the_runner_refuses_an_unknown_parameter_before_anything_starts(clone, tmp_path):
    from sdg_helpers.notebooks.execution import execute

    notebook = notebooks.find("math/03", notebooks.discover())
    with pytest.raises(SdgError, match=r"unknown parameter NUM_SEED. Did you mean NUM_SEEDS\?"):
        execute(notebook, tmp_path / "out.ipynb", {"NUM_SEED": 3})
    assert not (tmp_path / "out.ipynb").exists()


def test_notebooks_are_found_in_order_and_by_any_of_their_names(clone):
    (clone / "notebooks" / "math" / ".ipynb_checkpoints").mkdir()
    write_notebook(clone / "notebooks" / "math" / ".ipynb_checkpoints" / "01_old.ipynb", PARAMETERS)
    write_notebook(clone / "notebooks" / "math" / "scratch.ipynb", PARAMETERS)
    every = notebooks.discover()
    assert [one.key for one in every] == [
        "start/00_start_here",
        "math/01_download_problems",
        "math/03_generate_solutions",
    ]
    for name in ("math/03", "03", "MATH/03-generate-solutions", "notebooks/math/03_generate_solutions.ipynb"):
        assert notebooks.find(name, every).title == "03 generate solutions"
    assert [info.name for info in every[2].stages] == ["solutions"]
    assert every[2].parameters["LIMIT"].help == "rows at most; None: all"
    with pytest.raises(SdgError, match="NOTEBOOK '04': no such notebook. Notebooks: start/00_start_here, math/01"):
        notebooks.find("04", every)
    with pytest.raises(SdgError, match=r"unknown track 'maths'. Did you mean math\? Tracks in .*: start, math\."):
        notebooks.discover("maths")


def test_parameters_are_those_that_papermill_reads():
    from papermill.inspection import inspect_notebook

    for notebook in notebooks.discover():
        wanted = [(name, one["default"], one["help"]) for name, one in inspect_notebook(str(notebook.path)).items()]
        assert [(one.name, one.default, one.help) for one in notebook.parameters.values()] == wanted, notebook.key


def test_reading_parameters_loads_no_papermill():
    code = (
        "import sys\nfrom sdg_helpers.cli.main import main\nmain(['params', 'math'])\n"
        "print([name for name in ('papermill', 'nbformat', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), check=True, capture_output=True, text=True)
    assert done.stdout.endswith("\n[]\n")


def test_starting_papermill_builds_no_grammar_of_addresses():
    code = (
        "import sys\nfrom sdg_helpers.notebooks.discovery import without_address_grammar\n"
        "with without_address_grammar():\n    import papermill.execute\n"
        "print('jsonschema' in sys.modules, 'lark' in sys.modules)\n"
        "import rfc3987_syntax\nprint('lark' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["True", "False", "True"]


def test_a_finished_run_fetches_no_weights(clone, run, monkeypatch):
    fetched = []
    monkeypatch.setattr("sdg_helpers.cli.run.fetch_weights", fetched.append)
    path = clone / "notebooks" / "math" / "03_generate_solutions.ipynb"
    path.write_text(path.read_text().replace("import os, time", "import os, time  # run.server"))
    assert run("math").returncode == 0 and len(fetched) == 1
    assert run("math").out.count("complete, nothing to do") == 2 and len(fetched) == 1
    assert run("math", "--again").returncode == 0 and len(fetched) == 2


@pytest.mark.parametrize("text", ["", "{", '{"cells": 3}'])
def test_a_broken_notebook_is_named(clone, text):
    path = clone / "notebooks" / "math" / "01_download_problems.ipynb"
    path.write_text(text)
    with pytest.raises(SdgError, match="01_download_problems.ipynb: not a readable notebook"):
        notebooks.find("01", notebooks.discover()).parameters  # noqa: B018
