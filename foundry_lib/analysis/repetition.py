"""How much of a text repeats what the text has said before, and the recorded texts of a public model.

repeated_share(tokenizer.encode(text))      # of one text
print(read_looping().table())               # of 40 texts of SmolLM2 under five settings, made by benchmarks/looping.py
"""

import json
from dataclasses import dataclass
from statistics import fmean

from ..paths import DATA
from .side_by_side import Column, SideBySide
from .statistics import against_first, mean_interval


def repeated_share(tokens: list[int], n: int = 4) -> float:
    """The share of the sequences of n tokens that occur earlier in the same text; 0 for a text with none.

    Source: Welleck et al. 2020, "Neural Text Generation with Unlikelihood Training" (there: seq-rep-n).

    >>> repeated_share([1, 2, 1, 2, 1, 2], n=2)  # 5 sequences, of which (1, 2) and (2, 1) are new
    0.6
    """
    sequences = [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]
    return 1 - len(set(sequences)) / len(sequences) if sequences else 0.0


@dataclass(frozen=True)
class Looping:
    """What a model wrote after some prompts under some settings, the first of which is greedy.

    tokens: of each text, at most. shares: setting → the repeated share of the text after each prompt. people: the same
    of passages that people wrote. texts: prompt → setting → text, of a few prompts.
    """

    model: str
    tokens: int
    seed: int
    prompts: list[str]
    shares: dict[str, list[float]]
    people: list[float]
    texts: dict[str, dict[str, str]]

    def side_by_side(self, prompt: str, characters: int) -> SideBySide:
        """The texts after one prompt, up to this many characters, a column for each setting."""
        columns = [Column(name, [text[:characters]], None, "") for name, text in self.texts[prompt].items()]
        return SideBySide(prompt, columns)

    def table(self) -> str:
        """A line for each setting: the mean share with its 95 % interval, and how far it is from the first setting."""
        differences = against_first(self.shares)
        lines = [f"{'':<22}repeated share (95 %)    minus greedy (95 %)       p"]
        for name, values in [*self.shares.items(), ("the Python manual", self.people)]:
            low, high = mean_interval(values)
            line = f"{name:<22}{fmean(values):5.2f} ({max(0.0, low):.2f} to {high:.2f})"
            if name in differences:
                d = differences[name]
                p = "< 0.001" if d.p < 0.001 else f"{d.p:.3f}"
                line = f"{line:<47}{d.value:5.2f} ({d.low:.2f} to {d.high:.2f})   {p}"
            lines.append(line)
        return "\n".join(lines)


def read_looping() -> Looping:
    """The recorded texts and shares, data/looping.json."""
    return Looping(**json.loads((DATA / "looping.json").read_text("utf-8")))
