"""What is measured and how each tool is asked to do it. Starts nothing and measures nothing.

A tool's command is its fixed options (here: no progress, no files of its own, no politeness that others lack)
and a *setting*, the part worth tuning. SETTINGS lists the candidates for each case, the best first: that one is
used, or a few where they tell something; `--sweep` measures them all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from servers import SMALL, Nginx, file_name

MIB = 1 << 20


@dataclass(frozen=True)
class Case:
    """One table of the report."""

    name: str
    title: str
    count: int  # lines of the list
    quick: int  # the same under --quick
    size: int  # bytes of each body
    limit: float  # seconds a tool is given
    tls: bool = False  # every line a new connection, verified against a big CA bundle
    discard: bool = False  # nothing is kept (by tools that can)
    settings: str = ""  # the case whose SETTINGS it shares; "": its own
    lines_of_a_host: int = 0  # hosts in turns, so many lines each; 0: all lines are of one host

    def path(self, number: int) -> str:
        """The URL path of one line. Discarded bodies are no files: the server answers from memory."""
        return f"/n/{file_name(number)}" if self.discard else f"/{self.name}/{file_name(number)}"

    def url(self, server: Nginx, number: int, count: int) -> str:
        """The URL of one line of `count`."""
        if self.lines_of_a_host:
            return server.at(number % (count // self.lines_of_a_host)) + self.path(number)
        return (server.https if self.tls else server.http) + self.path(number)


CASES = [
    Case("small", "{count} × 1 KiB over HTTP/1.1, to files", 20_000, 500, SMALL, 120),
    Case("large", "{count} × 128 MiB over HTTP/1.1, to files", 8, 2, 128 * MIB, 120),
    Case("tls", "{count} new verified TLS connections, 1 KiB each, to files", 1_000, 50, SMALL, 180, tls=True),
    Case("list", "a list of {count} lines, 1 KiB each, discarded", 400_000, 5_000, SMALL, 300, discard=True),
    Case("list-short", "a list of {count} lines, 1 KiB each, discarded", 20_000, 500, SMALL, 120, discard=True,
         settings="list"),
    Case("hosts", "{count} × 1 KiB, two from each host, discarded", 20_000, 500, SMALL, 120, discard=True,
         lines_of_a_host=2),
    Case("turns", "{count} × 1 KiB, 200 from each host, in turns, discarded", 20_000, 400, SMALL, 120, discard=True,
         lines_of_a_host=200),
]


@dataclass(frozen=True)
class Errand:
    """What a tool is given: where its list is, where files go, whom to trust."""

    case: Case
    lists: Path  # directory of urls.txt (a URL a line) and curl.conf (the same as curl's options)
    out: Path  # empty directory for the files
    cacert: Path | None


def write_lists(case: Case, count: int, server: Nginx, lists: Path, out: Path) -> None:
    """The same URLs in both forms. curl needs an output for each URL, or it prints all but the first."""
    lists.mkdir()
    with open(lists / "urls.txt", "w") as urls, open(lists / "curl.conf", "w") as conf:
        for number in range(count):
            url = case.url(server, number, count)
            target = "/dev/null" if case.discard else f"{out}/{file_name(number)}"
            urls.write(f"{url}\n")
            conf.write(f'url="{url}"\noutput="{target}"\n')


def fetchmany(binary: str, setting: list[str], errand: Errand) -> list[str]:
    target = ["--discard"] if errand.case.discard else ["-d", str(errand.out)]
    trust = ["--cacert", str(errand.cacert)] if errand.cacert else []
    return [binary, *setting, "-q", "--progress", "off", "--http1.1", *trust, *target, str(errand.lists / "urls.txt")]


def curl(binary: str, setting: list[str], errand: Errand) -> list[str]:
    trust = ["--cacert", str(errand.cacert)] if errand.cacert else []
    return [binary, "-q", "-Z", "-sS", "-f", "--http1.1", *setting, *trust, "-K", str(errand.lists / "curl.conf")]


def aria2c(binary: str, setting: list[str], errand: Errand) -> list[str]:
    """Cannot discard: two downloads may not share a file, not even /dev/null. It keeps its files on tmpfs."""
    trust = [f"--ca-certificate={errand.cacert}"] if errand.cacert else []
    return [
        binary, *setting, "--no-conf", "--quiet", "--file-allocation=none", "--auto-save-interval=0",
        "--deferred-input=true", "--max-download-result=0", "--no-netrc", "--disable-ipv6", *trust,
        "-d", str(errand.out), "-i", str(errand.lists / "urls.txt"),
    ]


def wget2(binary: str, setting: list[str], errand: Errand) -> list[str]:
    target = ["-O", "/dev/null"] if errand.case.discard else ["-P", str(errand.out)]
    trust = [f"--ca-certificate={errand.cacert}"] if errand.cacert else []
    return [
        binary, *setting, "--no-config", "-q", "--http2=off", "--no-robots", "--no-hsts", "--no-hpkp", "--no-ocsp",
        "--no-ocsp-stapling", "--no-netrc", "--no-cookies", "--no-xattr", "--no-use-server-timestamps",
        "--no-compression", "--no-local-db", *trust, *target, "-i", str(errand.lists / "urls.txt"),
    ]


@dataclass(frozen=True)
class Tool:
    """A peer, or fetchmany itself."""

    name: str
    command: Callable[[str, list[str], Errand], list[str]]
    version: str  # the option that prints its version
    discards: bool = True  # whether it can drop bodies


TOOLS = {
    "fetchmany": Tool("fetchmany", fetchmany, "--version"),
    "curl": Tool("curl -Z", curl, "--version"),
    "aria2c": Tool("aria2c", aria2c, "--version", discards=False),
    "wget2": Tool("wget2", wget2, "--version"),
}

# The first of each row was the fastest in two sweeps on 2 cores (see README.md); wall times that agree within
# the noise were decided by CPU time. -j and its kin: transfers at once. aria2c -x, -s: connections for one file.
SETTINGS: dict[tuple[str, str], list[str]] = {
    ("small", "fetchmany"): ["-j 50", "-j 8", "-j 20", "-j 100", "-j 200"],
    ("small", "curl"): ["--parallel-max 50 --parallel-immediate", "--parallel-max 20", "--parallel-max 50",
                        "--parallel-max 100", "--parallel-max 200", "--parallel-max 200 --parallel-immediate"],
    ("small", "aria2c"): ["-j 50 -x 1", "-j 8 -x 1", "-j 16 -x 1", "-j 100 -x 1", "-j 200 -x 1",
                          "-j 16 -x 1 --enable-http-pipelining=true"],
    ("small", "wget2"): ["--max-threads=8", "--max-threads=4", "--max-threads=16", "--max-threads=50",
                         "--max-threads=100"],
    ("large", "fetchmany"): ["-j 2", "-j 4", "-j 8"],
    ("large", "curl"): ["--parallel-max 4", "--parallel-max 2", "--parallel-max 8",
                        "--parallel-max 8 --parallel-immediate"],
    ("large", "aria2c"): ["-j 8 -x 1 --disk-cache=0", "-j 2 -x 1", "-j 4 -x 1", "-j 8 -x 1", "-j 8 -x 4 -s 4",
                          "-j 8 -x 1 --enable-mmap=true"],
    ("large", "wget2"): ["--max-threads=8", "--max-threads=2", "--max-threads=4", "--max-threads=8 --chunk-size=32M"],
    # By itself OpenSSL offers a post-quantum group too, which costs it a key. The peers here offer none.
    ("tls", "fetchmany"): ["-j 20 --curves X25519", "-j 20", "-j 8", "-j 50", "-j 200"],
    ("tls", "curl"): ["--parallel-max 20", "--parallel-max 8", "--parallel-max 50",
                      "--parallel-max 50 --parallel-immediate"],
    ("tls", "aria2c"): ["-j 50 -x 1", "-j 8 -x 1", "-j 16 -x 1", "-j 100 -x 1"],
    ("tls", "wget2"): ["--max-threads=16", "--max-threads=4", "--max-threads=8", "--max-threads=50"],
    ("list", "fetchmany"): ["-j 20", "-j 8", "-j 50", "-j 100", "-j 200"],
    ("list", "curl"): ["--parallel-max 50", "--parallel-max 20", "--parallel-max 100", "--parallel-max 200",
                       "--parallel-max 50 --parallel-immediate"],
    ("list", "aria2c"): ["-j 16 -x 1", "-j 8 -x 1", "-j 50 -x 1", "-j 100 -x 1"],
    ("list", "wget2"): ["--max-threads=8", "--max-threads=4", "--max-threads=16", "--max-threads=50",
                        "--max-threads=100"],
    ("turns", "fetchmany"): ["-j 50", "-j 20", "-j 200"],
    ("turns", "curl"): ["--parallel-max 50", "--parallel-max 20", "--parallel-max 200"],
    ("turns", "wget2"): ["--max-threads=8", "--max-threads=16", "--max-threads=50"],
    ("turns", "aria2c"): ["-j 50 -x 1", "-j 16 -x 1"],
    # The multiple in the column of CPU time is the price of a crowd for each transfer. curl 7.88 knows no more than 300.
    ("hosts", "fetchmany"): ["-j 100", "-j 10000"],
    ("hosts", "curl"): ["--parallel-max 100", "--parallel-max 300 --parallel-immediate"],
}

# So many of a row are measured without --sweep; of others one.
COMPARED: dict[tuple[str, str], int] = {("tls", "fetchmany"): 2, ("hosts", "fetchmany"): 2, ("hosts", "curl"): 2}


def settings(case: Case, tool: str, sweep: bool) -> list[str]:
    """The settings of a tool that are measured in a case; none where it does not take part."""
    row = (case.settings or case.name, tool)
    candidates = SETTINGS.get(row, [])
    return candidates if sweep else candidates[:COMPARED.get(row, 1)]
