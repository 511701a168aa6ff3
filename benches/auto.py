#!/usr/bin/env python3
"""Measures -j auto beside fixed numbers of transfers, on servers that differ in what they bear. See README.md.

Each run is given more lines than it can fetch. What counts is what the server's log says it served in the last seconds
of the run: `-j auto` has to look for its number first.
"""

import argparse
import dataclasses
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True  # leave no __pycache__ in the source tree

import servers  # noqa: E402
from peers import BUILT  # noqa: E402


@dataclasses.dataclass(frozen=True)
class Place:
    """One kind of server."""

    path: str
    title: str
    lines: int  # more than anybody fetches
    search: float  # seconds before it counts
    fixed: tuple[int, ...]


COUNTED = 10.0  # seconds
FAIR = 0.8  # of the best fixed number's goodput
PLACES = [
    Place("n", "answers at once", 2_000_000, 2, (5, 20, 100, 1000)),
    Place("slow", "answers after 2 s", 400_000, 60, (20, 100, 1000, 4000)),
    Place("crowded", "20 requests of 50 ms at once, 503 to more", 400_000, 10, (5, 20, 40, 100)),
    Place("closed", "20 requests of 50 ms at once, closes the connection of more", 400_000, 10, (5, 20, 40, 100)),
]


def goodput(binary: str, jobs: str, place: Place, server: servers.Nginx, work: Path) -> float:
    """URLs served a second at the end of a run with `-j jobs`."""
    log = work / "places.log"
    os.truncate(log, 0)
    lines = work / f"{place.path}.txt"
    if not lines.exists():
        lines.write_text("".join(f"{server.places}/{place.path}/{number}\n" for number in range(place.lines)))
    argv = [binary, "-j", jobs, "-q", "-q", "--progress", "off", "--discard", str(lines)]
    run = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env={"PATH": os.defpath})
    try:
        time.sleep(place.search)
        start = time.time()
        time.sleep(COUNTED)
        end = time.time()
        if run.poll() is not None:
            raise RuntimeError(f"-j {jobs} ended before its time with status {run.returncode}")
    finally:
        run.kill()
        run.wait()
    time.sleep(1.5)  # the server writes its log every second
    served = 0
    with open(log) as entries:
        for entry in entries:
            at, status = entry.split()
            served += status == "200" and start <= float(at) < end
    return served / COUNTED


def main() -> int:
    parser = argparse.ArgumentParser(description="-j auto beside fixed numbers; prints a Markdown report")
    parser.add_argument("--binary", default=str(BUILT), help="the fetchmany to measure (default: target/release)")
    parser.add_argument("--place", action="append", choices=[place.path for place in PLACES], help="only this")
    parser.add_argument("--fixed", type=int, action="append", help="beside this number (default: the place's own)")
    parser.add_argument("--reps", type=int, default=3, help="interleaved repetitions (default 3); medians count")
    parser.add_argument("--search", type=float, help="seconds before it counts (default: the place's own)")
    parser.add_argument("--dir", default="/dev/shm", help="where to work (default /dev/shm: memory, not a disk)")
    arguments = parser.parse_args()
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    echo = servers.echo_module(nginx) if nginx else None
    if echo is None or not Path(arguments.binary).is_file():
        sys.exit("auto: nginx with its echo module and a release build are needed")
    print("| server | setting | served a second | of the best fixed |\n| --- | --- | ---: | ---: |", flush=True)
    fell_short = False
    with tempfile.TemporaryDirectory(prefix="fetchmany-bench-", dir=arguments.dir) as temporary:
        work = Path(temporary)
        servers.make_certificates(work)
        (work / "files").mkdir()
        with servers.Nginx(nginx, work, work / "files", echo) as server:
            for place in PLACES:
                if arguments.place and place.path not in arguments.place:
                    continue
                place = dataclasses.replace(place, search=arguments.search or place.search)
                rates: dict[str, list[float]] = {jobs: [] for jobs in [*map(str, arguments.fixed or place.fixed), "auto"]}
                for _ in range(arguments.reps):
                    for jobs, seen in rates.items():
                        seen.append(goodput(arguments.binary, jobs, place, server, work))
                found = {jobs: statistics.median(seen) for jobs, seen in rates.items()}
                best = max(rate for jobs, rate in found.items() if jobs != "auto")
                for jobs, rate in found.items():
                    share = f"{rate / best:.2f}" if jobs == "auto" and best else ""
                    print(f"| {place.title} | `-j {jobs}` | {rate:,.0f} | {share} |", flush=True)
                fell_short |= found["auto"] < FAIR * best
    return 1 if fell_short else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RuntimeError as error:
        sys.exit(f"auto: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
