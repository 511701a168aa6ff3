"""Runs one command and says what it cost: wall time, CPU time, peak memory. Knows nothing of downloads.

Linux keeps a process's peak memory across exec, so a child started straight from this interpreter would be
charged with the interpreter's own peak (a `true` started from a 200 MiB Python reports 210 MiB). Every command
is therefore started by a small shell that leaves at once; the kernel hands the orphan to us (we are a
"child subreaper", prctl(2)), and wait4(2) then reports the command alone.
"""

import ctypes
import os
import signal
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


@dataclass(frozen=True)
class Cost:
    """What one run took. `status` is None when the time limit ended it."""

    wall: float  # seconds, from before the start to the last process's end
    cpu: float  # seconds, user + system, of the command and its children
    rss: int  # bytes, the largest resident set of any of its processes
    status: int | None  # exit status; negative: died by that signal
    message: str  # its last line on standard error


def adopt_orphans() -> None:
    """Makes this process the parent of orphaned grandchildren. Called once, before the first run."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def run(argv: list[str], env: dict[str, str], stderr: Path, limit: float) -> Cost:
    """Runs `argv` to its end or for `limit` seconds, its standard error in the file `stderr`."""
    with open(stderr, "wb") as errors:
        start = time.monotonic()
        shell = subprocess.Popen(
            ["/bin/sh", "-c", '"$@" &', "sh", *argv],
            env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
            start_new_session=True,
        )
    group = shell.pid
    shell.returncode = 0  # reaped below; Popen must not wait for it
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        _kill(group)

    timer = threading.Timer(limit, expire)
    timer.start()
    cpu, rss, status = 0.0, 0, 0
    try:
        while True:
            try:
                pid, ended, usage = os.wait4(-group, 0)
            except ChildProcessError:
                break
            if pid == shell.pid:
                continue
            cpu += usage.ru_utime + usage.ru_stime
            rss = max(rss, usage.ru_maxrss * 1024)
            status = status or os.waitstatus_to_exitcode(ended)
    except BaseException:
        _kill(group)
        raise
    finally:
        timer.cancel()
    wall = time.monotonic() - start
    return Cost(wall, cpu, rss, None if expired.is_set() else status, _last_line(stderr))


def beside(base: list[float], other: list[float]) -> str:
    """How much more `other` is than `base`, run in turns: the median over the rounds, and how far it may be off.

    What else the machine does meets both runs of a round about alike, so each round is compared for itself. The second
    figure is the half width of a box plot's notch (McGill, Tukey and Larsen, 1978): about a 95 % interval of the median.
    """
    more = sorted(100 * (theirs / ours - 1) for ours, theirs in zip(base, other, strict=True))
    if len(more) < 4:
        return f"{statistics.median(more):+.1f} %"
    low, _, high = statistics.quantiles(more, n=4)
    return f"{statistics.median(more):+.1f} ± {1.57 * (high - low) / len(more) ** 0.5:.1f} %"


def _kill(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
