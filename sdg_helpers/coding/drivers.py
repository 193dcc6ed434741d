"""Commands that run a program on one test: as it is, through files, or by calling its function."""

from __future__ import annotations

import re
from pathlib import Path

from sdg_helpers.coding.procedures import Procedure
from sdg_helpers.coding.sandbox import Sandbox
from sdg_helpers.coding.sandboxed_process import RunLimits

NO_FUNCTION_EXIT_CODE = 93  # of _FUNCTION_DRIVER
_PYTHON_OPTIONS = ("-I", "-B", "-X", "int_max_str_digits=0")  # integers of any length, as before Python 3.11
# What the contest site of class-and-method questions imports for everybody.
_FUNCTION_DRIVER = """\
import json, sys
arguments = json.load(sys.stdin)
results, sys.stdout = sys.stdout, sys.stderr
space = {"__name__": "solution"}
exec("from typing import *\\nfrom collections import *\\nfrom itertools import *\\nfrom functools import *\\n"
     "import bisect, collections, functools, heapq, itertools, math, random, re, string", space)
with open("/program/main.py", encoding="utf-8") as file:
    exec(compile(file.read(), "/program/main.py", "exec"), space)
name, owner = sys.argv[1], space.get("Solution")
call = getattr(owner(), name, None) if isinstance(owner, type) else space.get(name)
if call is None:
    sys.exit(93)
json.dump(call(*arguments), results, default=list)
"""
# Threads get the stack that Linux gives them elsewhere, not the large one of the main thread; one that a program asks
# for is cut to a share of its memory, as it counts as used once the thread starts. So do glibc's arenas, one a thread.
_FEW_ARENAS = ("/usr/bin/env", "MALLOC_ARENA_MAX=1")
_THREAD_STACK = 8 << 20
_MAX_STACK_SHARE = 4
_THREADS_DRIVER = """\
import runpy, sys, threading
set_size, largest = threading.stack_size, int(sys.argv.pop(1))
threading.stack_size = lambda size=0: set_size(min(size, largest)) if size else set_size()
set_size(min(%d, largest))
runpy.run_path("/program/main.py", run_name="__main__")
"""
_THREADS = re.compile(r"thread|concurrent|std::async", re.IGNORECASE)
# Answer to both forms: a program may use the files, as the question says, or stdin and stdout.
_FILES_SCRIPT = """\
given=$1 printed=$2; shift 2
cat > "$given" && "$@" < "$given" > .stdout; code=$?
if [ -s "$printed" ]; then cat "$printed"; else cat .stdout; fi
exit $code
"""
_WINDOWS_FORMAT = re.compile(r"%([-+ 0#]{0,5}[0-9]{0,4})I64([diouxX])")


def write_program(folder: Path, program: str, language: str, procedure: Procedure) -> None:
    """Write a program's source, and what runs it, to a folder that is mounted at /program."""
    if language == "cpp":  # printf("%I64d") prints long long on the Windows machines of some contest sites
        program = _WINDOWS_FORMAT.sub(r"%\1ll\2", program)
    name = "main.py" if language == "python" else "main.cpp"
    (folder / name).write_bytes(program.encode("utf-8", "replace"))
    if procedure.function:
        (folder / "driver.py").write_text(_FUNCTION_DRIVER)
    elif language == "python" and uses_threads(program):
        (folder / "driver.py").write_text(_THREADS_DRIVER.replace("%d", str(_THREAD_STACK)))


def uses_threads(program: str) -> bool:
    """Return whether a program may start threads."""
    return bool(_THREADS.search(program))


def run_command(
    sandbox: Sandbox, language: str, procedure: Procedure, limits: RunLimits, threads: bool = False
) -> list[str]:
    """Return the command that runs a written, and if it is C++ compiled, program on the test in its stdin."""
    python = [sandbox.python, *_PYTHON_OPTIONS]
    if procedure.function:
        return [*python, "/program/driver.py", procedure.function]
    command = [*python, "/program/main.py"] if language == "python" else ["/program/main"]
    if threads and language == "python":
        command = [*_FEW_ARENAS, *python, "/program/driver.py", str((limits.memory_mb << 20) // _MAX_STACK_SHARE)]
    elif threads:
        command = [*_FEW_ARENAS, "/usr/bin/prlimit", f"--stack={_THREAD_STACK}:", *command]
    if procedure.input_file or procedure.output_file:
        names = [procedure.input_file or ".stdin", procedure.output_file or ".stdout"]
        return ["/bin/sh", "-c", _FILES_SCRIPT, "sh", *names, *command]
    return command
