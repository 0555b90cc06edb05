"""Run one notebook or script for Snakemake: `job.py TEXT_LOG COMMAND...`; an executed notebook lies beside its log.

- One process writes one executed notebook: a lock, held by the command itself, makes a second one wait.
- While the workflow works it locks the file that SRLIB_ALIVE names. When nobody holds it any more the command is ended:
  killing the workflow, however hard, leaves no notebook running.
- What the command prints goes to the text log; a failure is printed in two lines, with the error that the notebook shows.
- A job that takes longer tells where it is, every 20 seconds at most.
"""

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STOPPED = 130
KERNEL_LIFE = 2.0  # seconds: a kernel looks for its parent once a second
INTERVAL = 20.0  # seconds between lines on what a job is at
CELL = re.compile(r"(Executing|Ending) Cell \d+-+")


def abandoned(alive: str) -> bool:
    """Return whether nobody holds the lock on a file; no file, no."""
    if not alive:
        return False
    with open(alive) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def reason(notebook: Path, text: Path) -> str:
    """Return why a notebook failed: the error that it shows, or the last line that its run printed."""
    with contextlib.suppress(OSError, ValueError):  # no notebook yet, or cut off in the middle
        outputs = [output for cell in json.loads(notebook.read_text())["cells"] for output in cell.get("outputs", ())]
        for output in outputs:
            if output["output_type"] == "error":
                return f"{output['ename']}: {output['evalue']}"[:400]
    lines = text.read_text(errors="replace").split("\n") if text.exists() else []
    return next((line.strip()[:400] for line in reversed(lines) if line.strip()), "it printed nothing")


def position(notebook: Path, text: Path) -> str:
    """Return where a job is: the running cell of its notebook under its heading, and what it printed last."""
    lines = [line.strip() for line in text.read_text(errors="replace").split("\n") if line.strip()]
    last = lines[-1][:100] if lines and not CELL.match(lines[-1]) else ("" if lines else "starting")
    try:
        cells = json.loads(notebook.read_text())["cells"]
    except (OSError, ValueError):  # not a notebook, or just being written
        return last
    running = [i for i, cell in enumerate(cells, 1) if cell["metadata"].get("papermill", {}).get("status") == "running"]
    if not running:
        return last
    prose = "\n".join("".join(cell["source"]) for cell in cells[: running[0]] if cell["cell_type"] == "markdown")
    heading = re.findall(r"^#+ (.+)", prose, re.MULTILINE)[-1:]
    return ", ".join(filter(None, [f"cell {running[0]} of {len(cells)}", *heading, last]))


def take(lock: Path) -> int:
    """Hold the lock file; return its descriptor."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        time.sleep(KERNEL_LIFE)
    return descriptor


def run(command: list[str], text: Path, notebook: Path, name: str, alive: str) -> int:
    """Run the command to its end, or kill it when the workflow is gone; return its exit status."""
    lock = take(notebook.with_name(f".{notebook.name}.lock"))
    text.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as private, text.open("w") as log:
        # A private IPython folder: parallel kernels share no history file, and nobody's start-up files run.
        settings = {"IPYTHONDIR": private, "JUPYTER_PREFER_ENV_PATH": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
        process = subprocess.Popen(command, env=os.environ | settings, pass_fds=[lock], **streams)
        try:
            printed, last = time.monotonic(), ""
            while not abandoned(alive):
                if time.monotonic() - printed > INTERVAL:
                    printed = time.monotonic()
                    if (place := position(notebook, text)) not in ("", last):  # "": between two cells
                        print(f"  at      {name}: {place}\n", end="", flush=True)
                        last = place
                with contextlib.suppress(subprocess.TimeoutExpired):
                    status = process.wait(timeout=0.5)
                    if status < 0:
                        print(f"killed by signal {-status}, likely out of memory", file=log)
                    return abs(status)
            return STOPPED
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def main() -> int:
    text, command = Path(sys.argv[1]), sys.argv[2:]
    notebook = text.with_suffix(".ipynb")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))  # so that the command is ended too
    name = "/".join(notebook.with_suffix("").parts[2:])  # notebooks/<profile>/<paper>/<name>.ipynb
    print(f"  start   {name}\n", end="", flush=True)  # whole lines, also beside other jobs
    begin = time.monotonic()
    status = run(command, text, notebook, name, os.environ.get("SRLIB_ALIVE", ""))
    seconds = time.monotonic() - begin
    if status == 0:
        outcome = f"  done    {name}, {seconds:.0f} s"
    elif status == STOPPED:
        outcome = f"  stopped {name}"
    else:
        outcome = f"  FAILED  {name}, {seconds:.0f} s\n          {reason(notebook, text)}"
    print(f"{outcome}\n", end="", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
