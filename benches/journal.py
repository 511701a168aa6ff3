#!/usr/bin/env python3
"""What remembering and verifying cost: --journal, --sha256 and --checksum-file beside a plain run, and how long a long
journal takes to be read. See README.md.
"""

import argparse
import hashlib
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True  # leave no __pycache__ in the source tree

import measure  # noqa: E402
import servers  # noqa: E402

BUILT = Path(__file__).resolve().parent.parent / "target" / "release" / "fetchmany"
MIB = 1 << 20
HEADER = b"fetchmany-journal 1\n"
MARK = "1234567-400-6921c5a3.1dcd6500"  # by what a run knows a body again
PIECE = 100_000  # jobs written at a time


class Bench:
    def __init__(self, binary: str, work: Path, reps: int):
        self.binary, self.work, self.reps = binary, work, reps
        self.env = {"PATH": os.defpath, "HOME": str(work), "XDG_CONFIG_HOME": str(work), "LC_ALL": "C"}

    def run(self, *options: str) -> measure.Cost:
        """One run to its end, which must be a good one."""
        argv = [self.binary, "-q", "--progress", "off", "--http1.1", *options]
        cost = measure.run(argv, self.env, self.work / "stderr", 300)
        if cost.status != 0:
            raise RuntimeError(f"fetchmany ended with {cost.status}: {cost.message}")
        return cost

    def cost(self, title: str, server: servers.Nginx, count: int, size: int, jobs: int) -> None:
        """The same files plainly and with each option, in turns."""
        files = self.work / "files" / "f"
        servers.write_files(files, count, size)
        names = [servers.file_name(number) for number in range(count)]
        (self.work / "urls").write_text("".join(f"{server.http}/f/{name}\n" for name in names))
        with open(self.work / "sums", "w") as sums:
            for name in names:
                with open(files / name, "rb") as data:
                    sums.write(f"{hashlib.file_digest(data, 'sha256').hexdigest()}  {name}\n")
        ways = {
            "plain": [],
            "`--journal`": ["--journal", str(self.work / "journal")],
            "`--sha256`": ["--sha256"],
            "`--checksum-file`": ["--checksum-file", str(self.work / "sums")],
        }
        costs: dict[str, list[measure.Cost]] = {way: [] for way in ways}
        for rep in range(self.reps):
            for way in list(ways)[rep % len(ways):] + list(ways)[:rep % len(ways)]:
                out = self.work / "out"
                costs[way].append(self.run("-j", str(jobs), "-d", str(out), *ways[way], str(self.work / "urls")))
                if sum(1 for _ in os.scandir(out)) != count:
                    raise RuntimeError(f"{way}: not {count} files")
                shutil.rmtree(out)
                (self.work / "journal").unlink(missing_ok=True)
                time.sleep(0.2)  # let the server and the kernel finish with closed connections
        shutil.rmtree(files)
        print(f"\n### {title}\n\n| | wall, s | CPU, s | least CPU, s | CPU beside plain | peak RSS, MiB |\n"
              "| --- | ---: | ---: | ---: | ---: | ---: |")
        for way, runs in costs.items():
            wall, cpu = (statistics.median(getattr(cost, what) for cost in runs) for what in ("wall", "cpu"))
            least, rss = min(cost.cpu for cost in runs), max(cost.rss for cost in runs) / MIB
            more = measure.beside(*([cost.cpu for cost in costs[way]] for way in ("plain", way)))
            print(f"| {way} | {wall:.2f} | {cpu:.2f} | {least:.2f} | {more} | {rss:.1f} |", flush=True)

    def replay(self, count: int) -> None:
        """Start and end of a run with an empty list, whose journal has `count` jobs, each as a run that does it leaves it."""
        journal, empty = self.work / "journal", self.work / "empty"
        empty.touch()
        with open(journal, "wb") as out:
            out.write(HEADER)
            for start in range(0, count, PIECE):
                # Hashes of nothing in particular, all different.
                keys = os.urandom(16 * min(PIECE, count - start)).hex()
                keys = [keys[at:at + 32] for at in range(0, len(keys), 32)]
                names = (servers.file_name(number) for number in range(start, count))
                out.write("".join(f"put {key} {MARK} {name}\nok {key}\n" for key, name in zip(keys, names)).encode())
        length = journal.stat().st_size
        print(f"\n### A journal of {count:,} jobs is read\n\n| | wall, s | CPU, s | peak RSS, MiB | bytes a job |\n"
              "| --- | ---: | ---: | ---: | ---: |")
        base = 0
        for way, options in (("without it", []), ("with it", ["--journal", str(journal)])):
            runs = [self.run("--discard", *options, str(empty)) for _ in range(self.reps)]
            wall, cpu = (statistics.median(getattr(cost, what) for cost in runs) for what in ("wall", "cpu"))
            rss = max(cost.rss for cost in runs)
            a_job = f"{(rss - base) / count:.1f}" if options else ""
            base = rss
            print(f"| {way} | {wall:.2f} | {cpu:.2f} | {rss / MIB:.1f} | {a_job} |", flush=True)
        if journal.stat().st_size != length:
            raise RuntimeError("the journal was written anew")
        journal.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description="what --journal, --sha256 and --checksum-file cost; prints Markdown")
    parser.add_argument("--binary", default=str(BUILT), help="the fetchmany to measure (default: target/release/fetchmany)")
    parser.add_argument("--reps", type=int, default=15, help="repetitions (default 15)")
    parser.add_argument("--count", type=int, default=10_000_000, help="jobs of the long journal (default 10 million)")
    parser.add_argument("--quick", action="store_true", help="small counts: shows that it works, not what it costs")
    parser.add_argument("--dir", default="/dev/shm", help="where to work (default /dev/shm: memory, not a disk)")
    arguments = parser.parse_args()
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if nginx is None or not os.access(arguments.binary, os.X_OK):
        print("journal: nginx is not installed" if nginx is None else f"journal: no {arguments.binary}", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    measure.adopt_orphans()
    quick = arguments.quick
    with tempfile.TemporaryDirectory(prefix="fetchmany-bench-", dir=arguments.dir) as temporary:
        work = Path(temporary)
        servers.make_certificates(work)
        bench = Bench(str(Path(arguments.binary).resolve()), work, 1 if quick else arguments.reps)
        print(f"## What remembering and verifying cost\n\n{bench.reps} interleaved repetitions, medians")
        with servers.Nginx(nginx, work, work / "files") as server:
            small, large = (500, 2) if quick else (20_000, 8)
            bench.cost(f"{small:,} × 1 KiB", server, small, servers.SMALL, 50)
            bench.cost(f"{large} × 128 MiB", server, large, 128 * MIB, 4)
        bench.replay(100_000 if quick else arguments.count)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RuntimeError as error:
        sys.exit(f"journal: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
