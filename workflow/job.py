"""Run one notebook for Snakemake: `job.py TEXT_LOG EXECUTED_NOTEBOOK COMMAND...`.

- One process writes one executed notebook: a lock, held by the command itself, makes a second one wait.
- While the workflow works it locks the file that SRLIB_ALIVE names. When nobody holds it any more the command is ended:
  killing the workflow, however hard, leaves no notebook running.
- What the command prints goes to the text log; a failure is printed in two lines, with the error that the notebook shows.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STOPPED = 130
KERNEL_LIFE = 2.0  # seconds: a kernel looks for its parent once a second


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


def run(command: list[str], text: Path, notebook: Path, alive: str) -> int:
    """Run the command to its end, or kill it when the workflow is gone; return its exit status."""
    lock = take(notebook.with_name(f".{notebook.name}.lock"))
    text.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as private, text.open("w") as log:
        # A private IPython folder: parallel kernels share no history file, and nobody's start-up files run.
        settings = {"IPYTHONDIR": private, "JUPYTER_PREFER_ENV_PATH": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
        process = subprocess.Popen(command, env=os.environ | settings, pass_fds=[lock], **streams)
        try:
            while not abandoned(alive):
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
    text, notebook, command = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))  # so that the command is ended too
    name = "/".join(notebook.with_suffix("").parts[2:])  # notebooks/<profile>/<paper>/<name>.ipynb
    print(f"  start   {name}\n", end="", flush=True)  # whole lines, also beside other jobs
    begin = time.monotonic()
    status = run(command, text, notebook, os.environ.get("SRLIB_ALIVE", ""))
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
