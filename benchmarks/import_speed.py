"""What does `import foundry_lib` cost beside `import torch` alone?

Fresh processes in turn, each importing one of the two: seconds of the import, without the interpreter's own start, and
the most memory that the process has held. The files are in the system's cache.
"""

import statistics

import race
import report


class Imported:
    """Imports a module as the worker's first work."""

    def __init__(self, module: str):
        self.module = module

    def load(self):
        __import__(self.module)


def once(module: str, peaks: dict[str, list[int]]) -> float:
    with race.Rival(Imported, module) as fresh:
        seconds = fresh.seconds("load")
        peaks[module].append(fresh.call("peak_bytes"))
    return seconds


def main():
    rounds, modules = report.options(__doc__, rounds=7).rounds, ("foundry_lib", "torch")
    peaks = {module: [] for module in modules}
    seconds = race.take_turns({module: lambda m=module: once(m, peaks) for module in modules}, rounds)
    slower = statistics.median(ours / bare for ours, bare in zip(*seconds.values(), strict=True))
    peak = {module: statistics.median(values) / 2**20 for module, values in peaks.items()}
    heavier = peak["foundry_lib"] / peak["torch"]
    lines = [
        [f"import {m}", statistics.median(seconds[m]), min(seconds[m]), max(seconds[m]), ratio, peak[m], more]
        for m, ratio, more in (("foundry_lib", slower, heavier), ("torch", 1.0, 1.0))
    ]
    header = ["", "seconds", "fastest", "slowest", "× torch", "peak memory, MiB", "× torch"]
    promises = [
        report.promise("import, time × torch alone", slower, most=1.15),
        report.promise("import, peak memory × torch alone", heavier, most=1.15),
    ]
    report.write("import", [dict(title="Import, fresh processes", header=header, rows=lines)], promises, 1)


if __name__ == "__main__":
    main()
