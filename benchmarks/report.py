"""What a benchmark found: printed, and kept in results/<question>.json with the machine that it was found on."""

import argparse
import importlib.metadata
import json
import platform
import time
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PACKAGES = ("torch", "transformers", "litgpt", "xllamacpp", "sentencepiece", "numpy")
LOAD = psutil.getloadavg()[0]  # before anything of ours ran


def promise(what: str, found: float | None, least: float | None = None, most: float | None = None, unit="") -> dict:
    """One line of the issue's promises: what was found, and whether it is enough. Found None: it was not measured."""
    held = None if found is None else (least is None or found >= least) and (most is None or found <= most)
    return dict(what=what, found=found, least=least, most=most, unit=unit, held=held)


def machine() -> dict:
    """What was measured on."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    memory = f"{psutil.virtual_memory().total / 2**30:.0f} GiB"
    return dict(cpu=cpu, cores=psutil.cpu_count(), memory=memory, system=f"{platform.system()} {platform.machine()}")


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def table(header: list[str], rows: list[list]) -> str:
    """A table in Markdown; numbers get three significant digits, or all before the point."""

    def cell(value) -> str:
        if not isinstance(value, float):
            return "–" if value is None else str(value)
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell(value) for value in line) + " |" for line in lines)


def options(description: str, rounds: int) -> argparse.Namespace:
    """The one option that all commands have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of each rival (default: %(default)s)")
    return parser.parse_args()


def write(question: str, sections: list[dict], promises: list[dict], threads: int) -> Path:
    """Print the sections, {title, header, rows, notes}, and the promises; keep all in results/<question>.json."""
    result = dict(
        question=question,
        when=time.strftime("%Y-%m-%d"),
        machine=machine(),
        versions=versions(),
        sections=sections,
        promises=promises,
        load=[LOAD, psutil.getloadavg()[0]],
        threads=threads,
    )
    if max(result["load"]) > threads + 1:
        print(f"The machine is busy, load {result['load']}: these figures say little.")
    for section in sections:
        print(f"\n{section['title']}\n\n{table(section['header'], section['rows'])}")
        print("".join(f"\n{note}" for note in section.get("notes", [])))
    for line in promises:
        held = {True: "held", False: "NOT held", None: "not measured"}[line["held"]]
        print(f"{line['what']}: {line['found']} {line['unit']} → {held}")
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{question}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
