#!/usr/bin/env python3
"""What the bars cost: the same list fetched and dropped with bars on a terminal, and without. See README.md.

The terminal is a pseudo terminal of 80x24 that is read as fast as it is written; it is there in both runs. CPU time is
that of fetchmany alone. Runs are interleaved; the medians are compared.
"""

import argparse
import os
import pty
import shutil
import statistics
import struct
import sys
import tempfile
import termios
import threading
import time
from fcntl import ioctl
from pathlib import Path

sys.dont_write_bytecode = True  # leave no __pycache__ in the source tree

import measure  # noqa: E402
import servers  # noqa: E402

BUILT = Path(__file__).resolve().parent.parent / "target" / "release" / "fetchmany"
COLUMNS, ROWS = 80, 24


def drain(terminal: int, drawn: list[int]) -> None:
    """Reads what is drawn until nobody can draw any more."""
    try:
        while piece := os.read(terminal, 65536):
            drawn[0] += len(piece)
    except OSError:  # a terminal ends in EIO
        pass


def run(binary: str, progress: str, urls: Path, jobs: int) -> tuple[float, float, int]:
    """(wall seconds, CPU seconds, bytes drawn) of one run."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    drawn = [0]
    reader = threading.Thread(target=drain, args=(ours, drawn))
    argv = [binary, "--discard", "--json", "--http1.1", "-j", str(jobs), "--progress", progress, str(urls)]
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
            os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
            os.dup2(theirs, 2)
            os.execve(binary, argv, {"TERM": "xterm-256color", "LC_ALL": "C", "HOME": "/"})
        finally:
            os._exit(127)
    os.close(theirs)
    reader.start()
    _pid, status, usage = os.wait4(pid, 0)
    wall = time.monotonic() - start
    reader.join()
    os.close(ours)
    if status != 0:
        raise RuntimeError(f"{' '.join(argv)}: wait status {status}")
    return wall, usage.ru_utime + usage.ru_stime, drawn[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", default=str(BUILT), help="fetchmany (default: target/release)")
    parser.add_argument("--count", type=int, default=200_000, help="URLs of the list")
    parser.add_argument("--jobs", type=int, default=50, help="transfers at once")
    parser.add_argument("--reps", type=int, default=15, help="runs of each kind (default 15)")
    parser.add_argument("--nginx", default=shutil.which("nginx") or "/usr/sbin/nginx")
    args = parser.parse_args()
    ways = ("off", "bars")
    costs: dict[str, list[tuple[float, float, int]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory(prefix="fetchmany-bench-", dir="/dev/shm") as work:
        files = Path(work) / "files"
        files.mkdir()
        servers.make_certificates(Path(work))
        with servers.Nginx(args.nginx, Path(work), files) as server:
            urls = Path(work) / "urls.txt"
            with open(urls, "w") as out:
                out.writelines(f"{server.http}/n/{servers.file_name(number)}\n" for number in range(args.count))
            for rep in range(args.reps):
                for way in ways[:: 1 if rep % 2 else -1]:
                    costs[way].append(run(args.binary, way, urls, args.jobs))
    print("| progress | transfers a second | wall s | CPU s | KiB drawn |\n| --- | ---: | ---: | ---: | ---: |")
    for way in ways:
        wall, cpu, drawn = (statistics.median(column) for column in zip(*costs[way]))
        print(f"| {way} | {args.count / wall:,.0f} | {wall:.2f} | {cpu:.2f} | {drawn / 1024:.0f} |")
    off, bars = ([cpu for _wall, cpu, _drawn in costs[way]] for way in ways)
    print(f"\nDrawing takes {measure.beside(off, bars)} of CPU time.")


if __name__ == "__main__":
    main()
