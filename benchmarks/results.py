"""Writes RESULTS.md from what the benchmarks found: python benchmarks/results.py

Each question is a command, `*_speed.py` in this folder; how its figures are made is its own docstring.
"""

import ast
import json

import report

HELD = {True: "yes", False: "**no**", None: "not measured"}
HEAD = """# Speed beside the peers

Written by `benchmarks/results.py` from `benchmarks/results/`. Every speed beside a peer comes from one run in which the
rivals took turns, each in a process of its own, on the same weights and threads; the ratios are medians over the
rounds. Speeds of one machine mean little on another: the ratios are what to compare. To measure again: `pip install -e
".[bench]"`, then each command below, then `python benchmarks/results.py`.
"""


def question(command) -> str:
    return command.stem.removesuffix("_speed")


def read(command) -> dict | None:
    """What a command has found; None where it has not run."""
    path = report.RESULTS / f"{question(command)}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def bound(line: dict) -> str:
    """A promise as the issue states it."""
    sign, value = ("≥", line["least"]) if line["least"] is not None else ("≤", line["most"])
    return f"{sign} {value:g} {line['unit']}".strip()


def promises(found: dict) -> str:
    """All promises of all questions, and whether they are held."""
    rows = []
    for command, result in found.items():
        for line in result["promises"] if result else []:
            rows.append([line["what"], bound(line), line["found"], HELD[line["held"]]])
        if result is None:
            rows.append([f"{question(command)}: `{command.name}` was not run here", None, None, HELD[None]])
    return report.table(["what", "must be", "found", "held"], rows)


def where(result: dict) -> str:
    """One line: the machine, how busy it was (the benchmark itself included, at the end), and the versions."""
    m, versions = result["machine"], ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    before, after = result["load"]
    return (
        f"{result['when']}, {m['cpu']}, {m['cores']} cores, {m['memory']}, {m['system']}; load {before:.1f} before the "
        f"start (below 0.5 is a quiet machine) and {after:.1f} at the end; threads: {result['threads']}. {versions}."
    )


def chapter(command, result: dict | None) -> str:
    """One question: how its figures are made, where they were measured, and the tables."""
    asked, _, how = ast.get_docstring(ast.parse(command.read_text(encoding="utf-8"))).partition("\n\n")
    parts = [f"## {asked}", f"`python benchmarks/{command.name}`", how]
    if result is None:
        return "\n\n".join([*parts, "Was not run here."])
    for section in result["sections"]:
        parts += [f"### {section['title']}", report.table(section["header"], section["rows"])]
        parts += section.get("notes", [])
    return "\n\n".join([*parts, f"Measured: {where(result)}"])


def main():
    found = {command: read(command) for command in sorted(report.HERE.glob("*_speed.py"))}
    parts = [HEAD.strip(), "## The promises", promises(found)]
    parts += [chapter(command, result) for command, result in found.items()]
    (report.HERE / "RESULTS.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print("Written: RESULTS.md")


if __name__ == "__main__":
    main()
