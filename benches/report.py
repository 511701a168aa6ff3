"""The report as Markdown: what was measured, on what, by what. Prints no host name and no path. Measures nothing."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cases import Case
from measure import Cost


@dataclass(frozen=True)
class Contender:
    """One line of a table: a binary with a setting."""

    name: str
    tool: str  # key of cases.TOOLS
    binary: str
    setting: str


@dataclass
class Results:
    """All runs of one contender in one case."""

    costs: list[Cost] = field(default_factory=list)  # the good runs only
    faults: list[str] = field(default_factory=list)  # one for each bad run, saying what was wrong
    remark: str = ""
    given_up: bool = False  # a run met the time limit: no use in trying again


def head(versions: list[str], reps: int) -> str:
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    load = os.getloadavg()[0]
    return "\n".join([
        f"- date: {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC",
        f"- kernel: {platform.system()} {platform.release()} {platform.machine()}",
        f"- CPU: {cpu}, {os.cpu_count()} cores, shared by the tool and the server; load before the start: {load:.2f}",
        f"- tools: {'; '.join(versions)}",
        f"- {reps} interleaved repetitions; median (min–max); ×: the median as a multiple of the first fetchmany's",
        "- CPU: user + system of the tool alone; RSS: its peak resident memory",
    ])


def table(case: Case, count: int, results: dict[Contender, Results]) -> str:
    base = next((results[who] for who in results if who.tool == "fetchmany"), Results()).costs
    lines = [
        f"### {case.name}: {case.title.format(count=f'{count:,}')}",
        "",
        "| tool | setting | wall, s | × | CPU, s | × | peak RSS, MiB | × | remarks |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for who, result in results.items():
        cells = [who.name, f"`{who.setting}`"]
        for of, form in (
            (lambda cost: cost.wall, "{:.2f}"), (lambda cost: cost.cpu, "{:.2f}"),
            (lambda cost: cost.rss / (1 << 20), "{:.1f}"),
        ):
            cells += _median_and_ratio(of, form, result.costs, base)
        remarks = [result.remark, *_counted(result.faults)]
        lines.append("| " + " | ".join([*cells, "; ".join(filter(None, remarks)).replace("|", "/")]) + " |")
    return "\n".join(lines)


def growth(long: tuple[int, dict[Contender, Results]], short: tuple[int, dict[Contender, Results]]) -> str:
    """Memory for each further line of the list, from the two list cases."""
    lines = ["### memory for each listed URL", "", "| tool | peak RSS, KiB: long − short list | bytes a line |",
             "| --- | ---: | ---: |"]
    for who, result in long[1].items():
        other = short[1].get(who, Results())
        if result.costs and other.costs:
            more = _median(lambda cost: cost.rss, result.costs) - _median(lambda cost: cost.rss, other.costs)
            lines.append(f"| {who.name} | {more / 1024:,.0f} | {more / (long[0] - short[0]):,.1f} |")
        else:
            lines.append(f"| {who.name} | – | – |")
    return "\n".join(lines)


def _median(of: Callable[[Cost], float], costs: list[Cost]) -> float:
    return statistics.median(of(cost) for cost in costs)


def _median_and_ratio(of: Callable[[Cost], float], form: str, costs: list[Cost], base: list[Cost]) -> list[str]:
    if not costs:
        return ["–", "–"]
    values = [of(cost) for cost in costs]
    middle = statistics.median(values)
    shown = f"{form.format(middle)} ({form.format(min(values))}–{form.format(max(values))})"
    reference = _median(of, base) if base else 0.0
    return [shown, f"{middle / reference:.2f}" if reference else "–"]


def _counted(faults: list[str]) -> list[str]:
    return [f"{fault} ({faults.count(fault)}×)" for fault in dict.fromkeys(faults)]
