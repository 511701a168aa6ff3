#!/usr/bin/env python3
"""Measures fetchmany beside curl -Z, aria2c and wget2, in one run with interleaved repetitions. See README.md.

This file: the command line, the order of the runs, and the check of what each run left behind.
"""

import argparse
import dataclasses
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True  # leave no __pycache__ in the source tree

import cases  # noqa: E402
import measure  # noqa: E402
import report  # noqa: E402
import servers  # noqa: E402
from cases import CASES, MIB, TOOLS, Case, Errand  # noqa: E402
from report import Contender, Results  # noqa: E402

BUILT = Path(__file__).resolve().parent.parent / "target" / "release" / "fetchmany"
SAMPLES = 20  # files of a run whose content is compared by hash
SAMPLED_BYTES = 256 * MIB  # and no more than this


class Bench:
    """A temporary directory with a server in it, and the runs against it."""

    def __init__(self, work: Path, server: servers.Nginx, path: str):
        self.work, self.server = work, server
        self.files, self.out = work / "files", work / "out"
        # Nothing of the user's: no configuration files, no proxies, no language.
        self.env = {"PATH": path, "HOME": str(work / "home"), "XDG_CONFIG_HOME": str(work / "home"), "LC_ALL": "C"}

    def case(self, case: Case, count: int, contenders: list[Contender], reps: int) -> dict[Contender, Results]:
        """Every contender once, then every contender again, each round begun by another one."""
        need = 2 * count * max(case.size, 4096) * (1 if not case.discard else 0.5)
        if need > (free := _room(self.work)):
            raise RuntimeError(f"{case.name} needs {need / MIB:,.0f} MiB of room, there are {free / MIB:,.0f}")
        source, lists = self.files / case.name, self.work / "lists"
        if not case.discard:
            servers.write_files(source, count, case.size)
        cases.write_lists(case, count, self.server, lists, self.out)
        errand = Errand(case, lists, self.out, self.work / "bundle.pem" if case.tls else None)
        results = {who: Results() for who in contenders}
        try:
            for who, result in results.items():
                if case.discard and not TOOLS[who.tool].discards:
                    result.remark = "cannot discard: to files on the same tmpfs"
                if case.tls and (fault := self._trusts_anyone(who, case)):
                    result.faults.append(fault)
                    result.given_up = True
            for rep in range(reps):
                first = rep % len(contenders)
                for who in contenders[first:] + contenders[:first]:
                    if not results[who].given_up:
                        self._run(who, errand, count, results[who])
                        _say(f"{case.name}: round {rep + 1} of {reps}: {who.name} {who.setting}: {_last(results[who])}")
        finally:
            shutil.rmtree(source, ignore_errors=True)
            shutil.rmtree(lists)
        return results

    def _run(self, who: Contender, errand: Errand, count: int, result: Results) -> None:
        case = errand.case
        before = self.server.counters()
        cost = self._start(who, errand, case.limit)
        after = self.server.counters()
        # The second call of counters() counts itself.
        connections, requests = (after[0] - before[0] - 1, after[1] - before[1] - 1)
        if cost.status is None:
            result.faults.append(f"not finished in {case.limit:g} s, {requests:,} of {count:,} requests made")
            result.given_up = True
        elif cost.status != 0:
            reason = cost.message.replace(str(self.work), "").replace(who.binary, who.name)[:120] or "no message"
            result.faults.append(f"failed with status {cost.status}: {reason}")
        elif fault := self._wrong(who, case, count, connections, requests):
            result.faults.append(f"wrong: {fault}")
        else:
            result.costs.append(cost)
            if requests != count:  # a file in segments, or asked for again
                result.remark = f"made {requests:,} requests"
        shutil.rmtree(self.out)
        time.sleep(0.2)  # let the server and the kernel finish with closed connections

    def _start(self, who: Contender, errand: Errand, limit: float) -> measure.Cost:
        self.out.mkdir()
        (self.work / "home").mkdir(exist_ok=True)
        argv = TOOLS[who.tool].command(who.binary, who.setting.split(), errand)
        return measure.run(argv, self.env, self.work / "stderr", limit)

    def _wrong(self, who: Contender, case: Case, count: int, connections: int, requests: int) -> str | None:
        """What is wrong with what a run left, or None."""
        if case.discard and requests != count:
            return f"{requests:,} requests for {count:,} lines"
        if case.tls and connections < count:
            return f"{connections:,} connections for {count:,} lines"
        if case.discard and TOOLS[who.tool].discards:
            left = sum(1 for _ in os.scandir(self.out))
            return f"{left:,} files left by a run that discards" if left else None
        sizes = {entry.name: entry.stat(follow_symlinks=False).st_size for entry in os.scandir(self.out)}
        if len(sizes) != count or sum(sizes.values()) != count * case.size:
            return f"{len(sizes):,} files of {sum(sizes.values()):,} bytes, not {count:,} of {count * case.size:,}"
        samples = max(1, min(SAMPLES, count, SAMPLED_BYTES // case.size))
        for number in range(0, count, -(-count // samples)):
            name = cases.file_name(number)
            if name not in sizes:
                return f"no file {name}"
            want = hashlib.sha256(servers.NOTE).digest() if case.discard else _sha256(self.files / case.name / name)
            if _sha256(self.out / name) != want:
                return f"the content of {name} differs"
        return None

    def _trusts_anyone(self, who: Contender, case: Case) -> str | None:
        """One URL with the system's authorities alone must fail: otherwise the case would measure something else."""
        lists = self.work / "refused"
        cases.write_lists(case, 1, self.server, lists, self.out)
        self._start(who, Errand(case, lists, self.out, self.work / "system.pem"), 20)
        kept = any(entry.stat().st_size == case.size for entry in os.scandir(self.out))
        shutil.rmtree(lists)
        shutil.rmtree(self.out)
        return "fetches from a server whose certificate it cannot verify" if kept else None


def _room(folder: Path) -> int:
    """Bytes that may be written to `folder`: free there, and, as it is usually a tmpfs, free in memory."""
    memory = next(int(line.split()[1]) * 1024 for line in open("/proc/meminfo") if line.startswith("MemAvailable"))
    return min(shutil.disk_usage(folder).free, memory - 512 * MIB)


def _sha256(path: Path) -> bytes:
    with open(path, "rb") as data:
        return hashlib.file_digest(data, "sha256").digest()


def _last(result: Results) -> str:
    if result.faults:
        return result.faults[-1]
    cost = result.costs[-1]
    return f"{cost.wall:.2f} s, CPU {cost.cpu:.2f} s, RSS {cost.rss / MIB:.1f} MiB"


def _say(message: str) -> None:
    print(f"peers: {message}", file=sys.stderr, flush=True)


def _version(binary: str, option: str) -> str:
    try:
        done = subprocess.run([binary, option], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    except OSError as error:
        return f"does not start: {error.strerror}"
    text = (done.stdout or done.stderr).strip()
    return " ".join(text.split("\n")[0].split(" - ")[0].split()[:6]) or "says no version"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="fetchmany beside curl -Z, aria2c and wget2; prints a Markdown report")
    parser.add_argument("--binary", action="append", metavar="[NAME=]PATH",
                        help="a fetchmany to measure, again for old against new; the first is the reference "
                             "(default: target/release/fetchmany)")
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES], help="only this, repeatable")
    parser.add_argument("--tool", action="append", choices=list(TOOLS), help="only this, repeatable")
    parser.add_argument("--reps", type=int, default=5, help="repetitions (default 5)")
    parser.add_argument("--limit", type=float, metavar="SECS", help="time limit of one run (default: the case's own)")
    parser.add_argument("--quick", action="store_true", help="small counts: shows that it works, not how fast")
    parser.add_argument("--sweep", action="store_true", help="every setting of every tool, not only the best")
    parser.add_argument("--dir", default="/dev/shm", help="where to work (default /dev/shm: memory, not a disk)")
    arguments = parser.parse_args()
    if arguments.reps < 1:
        parser.error("--reps: at least 1")
    return arguments


def _binaries(arguments: argparse.Namespace) -> tuple[list[tuple[str, str, str]], list[str]]:
    """(name, tool, path) of all that is there, and a message for each that is not."""
    wanted = []
    for tool in arguments.tool or TOOLS:
        if tool != "fetchmany":
            wanted.append((TOOLS[tool].name, tool, shutil.which(tool), "is not installed"))
            continue
        for item in arguments.binary or [str(BUILT)]:
            name, _, path = item.rpartition("=")
            there = Path(path).is_file() and os.access(path, os.X_OK)
            wanted.append((name or tool, tool, str(Path(path).resolve()) if there else None,
                           "has no binary: build it with `cargo build --release`, or name one with --binary"))
    names = [name for name, *_ in wanted]
    if len(set(names)) != len(names):
        sys.exit("peers: --binary: give each its own NAME=PATH")
    found = [(name, tool, path) for name, tool, path, _ in wanted if path]
    return found, [f"{name} {why}" for name, _, path, why in wanted if not path]


def main() -> int:
    arguments = _arguments()
    chosen = [
        dataclasses.replace(case, limit=arguments.limit or case.limit)
        for case in CASES if not arguments.case or case.name in arguments.case
    ]
    found, missing = _binaries(arguments)
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    for message in missing:
        _say(f"{message}; it is left out")
    if nginx is None or not found:
        _say("nginx is not installed" if nginx is None else "nothing to measure")
        return 2
    # A stopped bench still stops its server and removes its files.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    measure.adopt_orphans()
    versions = [f"{name}: {_version(path, TOOLS[tool].version)}" for name, tool, path in found]
    print("## fetchmany and its peers\n")
    print(report.head([*versions, _version(nginx, "-v"), *missing], arguments.reps), flush=True)
    failed, lists = any(tool == "fetchmany" for tool in arguments.tool or TOOLS) and bool(missing), {}
    with tempfile.TemporaryDirectory(prefix="fetchmany-bench-", dir=arguments.dir) as temporary:
        work = Path(temporary)
        servers.make_certificates(work)
        with servers.Nginx(nginx, work, work / "files") as server:
            bench = Bench(work, server, os.environ.get("PATH", os.defpath))
            for case in chosen:
                count = case.quick if arguments.quick else case.count
                contenders = [
                    Contender(name, tool, path, setting)
                    for name, tool, path in found
                    for setting in cases.settings(case, tool, arguments.sweep)
                ]
                results = bench.case(case, count, contenders, arguments.reps)
                print(f"\n{report.table(case, count, results)}", flush=True)
                failed |= any(result.faults for who, result in results.items() if who.tool == "fetchmany")
                if case.name in ("list", "list-short"):
                    lists[case.name] = (count, results)
    if len(lists) == 2:
        print(f"\n{report.growth(lists['list'], lists['list-short'])}")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RuntimeError as error:
        sys.exit(f"peers: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
