"""What the instructor's check prints: progress, the table, the cells that differ; and the same as one HTML file."""

import difflib
import html as escaping
import platform
import sys
import time

VERDICTS = {  # from best to worst
    "ok": "green",
    "disorder": "OUT OF ORDER",
    "stripped": "STRIPPED",
    "missing": "CELLS MISSING",
    "differs": "DIFFERS",
    "raises": "RAISES",
    "endless": "TIME-OUT",
    "dies": "KERNEL DIED",
    "broken": "DID NOT RUN",
}
DOES = {  # the verb for one cell and for several
    "disorder": ("is out of order", "are out of order"),
    "stripped": ("is stripped", "are stripped"),
    "missing": ("is missing", "are missing"),
    "differs": ("differs", "differ"),
    "raises": ("raises", "raise"),
    "endless": ("runs out of time", "run out of time"),
    "dies": ("kills the kernel", "kill the kernel"),
    "broken": ("ends the run", "end the run"),
}
HEAD = ("lesson", "cells run", "compared", "seconds", "MiB", "computing", "header", "verdict", "first faulty cell")
LONGEST = 40  # lines of a source or of a difference that are printed


class Progress:
    """One line that is overwritten; if the output is a file, one line per lesson that has ended."""

    def __init__(self, jobs: int, out=sys.stdout):
        self.jobs, self.out, self.started, self.reported, self.width = jobs, out, time.monotonic(), set(), 0

    def __call__(self, runs):
        if self.out.isatty():
            done, cells = sum(run.done for run in runs), sum(len(run.records) for run in runs)
            going = ", ".join(
                f"{run.path.stem} {len(run.records)}/{run.n_cells}" for run in runs if run.seconds and not run.done
            )
            total = sum(run.n_cells for run in runs)
            line = f"{done} of {len(runs)} lessons, {cells} of {total} cells, {clock(self.started)}: {going}"[:110]
            line = "" if done == len(runs) else line
            print("\r" + line.ljust(self.width), end="\r" if not line else "", file=self.out, flush=True)
            self.width = len(line)
            return
        for run in runs:
            if run.done and run.path not in self.reported:
                self.reported.add(run.path)
                print(f"{run.path.stem}: {verdict(run)}, {run.seconds:.0f} s", file=self.out, flush=True)


def clock(started: float) -> str:
    minutes, seconds = divmod(int(time.monotonic() - started), 60)
    return f"{minutes}:{seconds:02d}"


def badness(verdict: str) -> int:
    """A number: the larger, the worse the verdict."""
    return list(VERDICTS).index(verdict)


def shown(run) -> list[dict]:
    """The first faulty cell and, if a later one is worse, the first cell with the worst verdict.

    A changed number may make a later cell raise.
    """
    if not run.faults:
        return []
    first, worst = run.faults[0], max(run.faults, key=lambda fault: badness(fault["verdict"]))
    return [first] if first["verdict"] == worst["verdict"] else [first, worst]


def verdict(run) -> str:
    """The worst verdict of the run."""
    faults = shown(run)
    return VERDICTS[faults[-1]["verdict"] if faults else "ok"]


def later(run) -> str:
    """How many cells after the first faulty one differ too, how many raise, and so on; empty if there are none."""
    first, *others = (fault["verdict"] for fault in run.faults)
    parts = []
    for what in sorted(set(others), key=lambda what: (what != first, -badness(what))):
        count = others.count(what)
        cells = "" if parts else " later cell" if count == 1 else " later cells"
        parts.append(f"{count}{cells} {DOES[what][count > 1]}{' too' if what == first else ''}")
    return ", ".join(parts)


def blocks(run) -> list[list[str]]:
    """For each cell that is shown: a heading, its source if that may be wrong, and what happened."""
    parts = []
    for number, fault in enumerate(shown(run)):
        also = later(run) if number == 0 else ""
        head = f"code cell {fault['cell']}: {VERDICTS[fault['verdict']]}" + (f" ({also})" if also else "")
        source = "" if fault["verdict"] in ("stripped", "disorder", "missing") else shorten(fault["source"])
        parts.append([head, *filter(None, [source, what_happened(fault)])])
    return parts


def next_step(run) -> str:
    """What to do about a lesson that is not green."""
    worst, store = shown(run)[-1]["verdict"], f"`python3 course.py refresh {run.name}`"
    changed = "`git diff` shows what was changed"
    restore = f"`git checkout {run.stored}` brings the lesson back as it came, without what was typed into it"
    if worst in ("stripped", "disorder"):
        return f"{restore}; {store} runs it as it is, from top to bottom, and stores its outputs."
    if worst == "missing":
        return f"{changed}; {restore}. If they are meant to be fewer, {store} stores the lesson as it is."
    if worst == "differs":
        return f"If the change was meant, {store} stores what is found now; else {changed}."
    if worst == "endless":
        return f"On a slow or busy computer allow more, as by `--timeout 1800`; else {changed}."
    if worst == "broken":
        return f"If the file is damaged, {restore}; if something is missing, `python3 course.py test` says what."
    return f"{changed}. Once the lesson runs to its end, {store} stores what it prints."


def row(run) -> tuple[str, ...]:
    """The run in the columns of HEAD. Computing is in processor seconds; the header states how many to expect."""
    stated = "says none" if run.stated is None else f"says {run.stated} s"
    return (
        run.path.stem,
        f"{len(run.records)}/{run.n_cells}",
        str(run.compared),
        f"{run.seconds:.0f}",
        f"{run.memory:.0f}",
        f"{run.computing:.0f} s",
        stated + ("" if run.header in ("ok", "none") else f", {run.header}"),
        verdict(run),
        where(run),
    )


def where(run) -> str:
    """The numbers of the cells that are shown below the table."""
    first, *worst = shown(run) or [None]
    more = "".join(f"; cell {fault['cell']} {DOES[fault['verdict']][0]}" for fault in worst)
    return "" if first is None else f"cell {first['cell']}{more}"


def difference(old: str, new: str, old_name: str, new_name: str) -> str:
    """The lines in which two texts differ, with two lines of context, at most LONGEST; empty if none differ."""
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), old_name, new_name, n=2, lineterm="")
    return shorten("\n".join(lines))


def what_happened(fault: dict) -> str:
    """For a cell that differs, the lines that were expected (-) and found (+); for other cells the message."""
    if fault["verdict"] == "differs":
        lines = difference(fault["expected"], fault["found"], "expected", "found")
        if lines:
            return lines
    return shorten(fault["message"])


def shorten(text: str) -> str:
    lines = [line if len(line) <= 200 else line[:200] + " …" for line in text.splitlines()]
    more = len(lines) - LONGEST
    return "\n".join(lines if more <= 0 else [*lines[:LONGEST], f"… {more} lines more"])


def indent(text: str) -> str:
    return "\n".join("    " + line for line in text.splitlines())


def summary(runs) -> str:
    good = sum(run.fault is None for run in runs)
    cells = sum(run.compared for run in runs)
    return f"{good} of {len(runs)} lessons are green; {cells} cells were compared."


def text(runs) -> str:
    """The table and, for each lesson that is not green, what differs and what to do about it."""
    rows = [HEAD, *map(row, runs)]
    widths = [max(len(line[column]) for line in rows) for column in range(len(HEAD))]
    lines = ["  ".join(part.ljust(width) for part, width in zip(line, widths, strict=True)).rstrip() for line in rows]
    lines.insert(1, "-" * max(map(len, lines)))
    for run in runs:
        for head, *words in blocks(run):
            lines += ["", f"{run.path.stem}, {head}", f"\n  {'.' * 20}\n".join(map(indent, words))]
        if run.fault:
            lines.append(f"  {next_step(run)}")
    return "\n".join([*lines, "", summary(runs)])


STYLE = """body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 70em; color: #222 }
table { border-collapse: collapse } td, th { padding: .3em .8em; border-bottom: 1px solid #ccc; text-align: left }
pre { background: #f4f4f4; padding: .8em; overflow-x: auto } .bad { font-weight: bold; color: #a33a00 }
figure { display: inline-block; margin: .5em; vertical-align: top } img { max-width: 32em; border: 1px solid #ddd }"""


def html(runs) -> str:
    """One complete file: the table, the cells that differ, and the pictures that were drawn now."""
    esc = escaping.escape
    head = "".join(f"<th>{esc(name)}</th>" for name in HEAD)
    body = []
    for run in runs:
        mark = ' class="bad"' if run.fault else ""
        body.append(f"<tr{mark}>" + "".join(f"<td>{esc(part)}</td>" for part in row(run)) + "</tr>")
    parts = []
    for run in runs:
        parts.append(f"<h2>{esc(run.path.stem)}</h2>")
        for title, *words in blocks(run):
            parts.append(f'<p class="bad">C{esc(title[1:])}</p>')
            parts += [f"<pre>{esc(part)}</pre>" for part in words]
        if run.fault:
            words = esc(next_step(run)).split("`")  # every second part is a command
            parts.append("<p>" + "".join(f"<code>{w}</code>" if n % 2 else w for n, w in enumerate(words)) + "</p>")
        for record in run.records:
            for picture in record["pictures"]:
                name = esc(f"{run.path.stem}, code cell {record['cell']}")
                image = f'<img alt="{name}" src="data:image/png;base64,{esc("".join(picture.split()))}">'
                parts.append(f"<figure>{image}<figcaption>{name}</figcaption></figure>")
    when = f"{time.strftime('%Y-%m-%d %H:%M')}, Python {platform.python_version()} on {platform.system()}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Check of the lessons</title>'
        f"<style>{STYLE}</style></head><body>\n<h1>Check of the lessons</h1><p>{esc(when)}</p>"
        f"<p>{esc(summary(runs))}</p>\n<table><tr>{head}</tr>{''.join(body)}</table>\n{''.join(parts)}\n</body></html>\n"
    )
