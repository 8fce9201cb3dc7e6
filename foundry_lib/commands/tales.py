"""The tales from the command line.

python -m foundry_lib tales write en 3            # three tales
python -m foundry_lib tales judge my_tales.txt    # a tale a line: valid, or which rule breaks where
python -m foundry_lib tales facts                 # what data/README.md says of the two languages
"""

import argparse
import math

from ..console import run_command
from ..tales import Floor, generate, parse
from ..text.corpus import MANY_TALES, read_corpus, told
from ..text.tokenizer import Tokenizer


def facts(language: str) -> dict[str, str]:
    """Counts and floor of a language, over 2,000 tales; the floor of the text itself is exact for each tale."""
    found = generate(language, 0, 2000)
    words = [word for tale in found for word in tale.words if word.isalnum()]
    ruled = sum(rule is not None for tale in found for rule in tale.rules)
    nats = -math.fsum(tale.log_prob for tale in found)
    tokenizer = Tokenizer.train(told(language, 2000), None)
    floor = Floor(found, tokenizer)
    characters = sum(len(tale.text) for tale in found)
    return {
        "words a tale": f"{len(words) / len(found):.0f}",
        "different words": f"{len(set(words)):,}",
        "words that a rule fixes": f"{ruled / len(words):.0%}",
        "floor, nats a tale": f"{nats / len(found):.1f}",
        "floor, bits a character": f"{nats / math.log(2) / characters:.3f}",
        "floor, nats a token": f"{floor.nats:.3f}",
        "forgets the story, nats a token": f"{floor.forgetful:.3f}",
        "vocabulary of the tokenizer": f"{tokenizer.vocab_size:,}",
        f"sha256 of the {MANY_TALES:,} tales": read_corpus(f"tales-{language}").sha256[:16] + "…",
    }


def facts_table() -> str:
    """The facts of both languages as a Markdown table."""
    english, chinese = facts("en"), facts("zh")
    rows = [f"| {name} | {english[name]} | {chinese[name]} |" for name in english]
    return "\n".join(["| | tales-en | tales-zh |", "| --- | --- | --- |", *rows])


def write_tales(language: str, seed: int, n: int) -> str:
    """n tales, one per line."""
    return "\n".join(tale.text for tale in generate(language, seed, n))


def judge(file: str, language: str) -> int:
    """Print a verdict on each line of a file; the exit code is 0 if all are tales."""
    lines = [line for line in str(read_corpus(file).documents[0]).splitlines() if line.strip()]
    verdicts = [parse(line, language) for line in lines]
    for number, verdict in enumerate(verdicts, 1):
        print(f"{number:4d}  {'valid' if verdict.valid else verdict.message}")
    print(f"{sum(verdict.valid for verdict in verdicts)} of {len(verdicts)} are tales")
    return 0 if all(verdict.valid for verdict in verdicts) else 1


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m foundry_lib tales", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True)
    write = actions.add_parser("write", help="print tales")
    write.add_argument("language", choices=["en", "zh"])
    write.add_argument("n", type=int, nargs="?", default=1)
    write.add_argument("--seed", type=int, default=0)
    judging = actions.add_parser("judge", help="judge a file, a tale a line")
    judging.add_argument("file")
    judging.add_argument("--language", choices=["en", "zh"], default="en")
    actions.add_parser("facts", help="counts and floors of both languages")
    args = parser.parse_args(arguments)

    def act() -> int:
        if args.action == "judge":
            return judge(args.file, args.language)
        print(facts_table() if args.action == "facts" else write_tales(args.language, args.seed, args.n))
        return 0

    return run_command(act)
