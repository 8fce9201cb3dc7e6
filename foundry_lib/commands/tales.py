"""The tales from the command line.

python -m foundry_lib tales write en 3            # three tales
python -m foundry_lib tales judge my_tales.txt    # one tale per line: valid, or which rule breaks where
python -m foundry_lib tales facts                 # the table of the two languages in data/README.md
"""

import argparse
import math

from ..console import run_command
from ..tales import LANGUAGES, generate, language_of, parse
from ..text.corpus import MANY_TALES, read_corpus, told
from ..text.tokenizer import Tokenizer
from ..text.words import token_floor

N_FACTS = 2000  # tales that the facts are counted over


def facts(language: str) -> dict[str, str]:
    """Counts and floor of a language, over 2,000 tales. The probability of each tale is exact."""
    tales = generate(language, 0, N_FACTS)
    words = [word for tale in tales for word in tale.words if word.isalnum()]
    ruled = sum(rule is not None for tale in tales for rule in tale.rules)
    nats = -math.fsum(tale.log_prob for tale in tales)
    tokenizer = Tokenizer.train(told(language, N_FACTS))
    floor = token_floor(tales, tokenizer)
    characters = sum(len(tale.text) for tale in tales)
    return {
        "words per tale": f"{len(words) / len(tales):.0f}",
        "different words": f"{len(set(words)):,}",
        "words that a rule fixes": f"{ruled / len(words):.0%}",
        "floor, nats per tale": f"{nats / len(tales):.1f}",
        "floor, bits per character": f"{nats / math.log(2) / characters:.3f}",
        "floor, nats per token": f"{floor.nats:.3f}",
        "no memory, nats per token": f"{floor.forgetful:.3f}",
        "vocabulary of the tokenizer": f"{tokenizer.vocab_size:,}",
        f"sha256 of the {MANY_TALES:,} tales": read_corpus(f"tales-{language}").sha256[:16] + "…",
    }


def facts_table() -> str:
    """The facts of both languages as a Markdown table."""
    english, chinese = facts("en"), facts("zh")
    rows = [f"| {name} | {english[name]} | {chinese[name]} |" for name in english]
    return "\n".join(["| | tales-en | tales-zh |", "| --- | --- | --- |", *rows])


def judge(file: str, language: str | None) -> int:
    """Print a verdict on each line of a file; the exit code is 0 if all are tales.

    language: None recognises the language of each line.
    """
    text = str(read_corpus(file).documents[0])
    lines = [line for line in text.splitlines() if line.strip()]
    verdicts = [parse(line, language or language_of(line)) for line in lines]
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
    write.add_argument("language", choices=LANGUAGES)
    write.add_argument("n", type=int, nargs="?", default=1)
    write.add_argument("--seed", type=int, default=0)
    judging = actions.add_parser("judge", help="judge a file, one tale per line")
    judging.add_argument("file")
    judging.add_argument("--language", choices=LANGUAGES, help="by default the language of each line")
    actions.add_parser("facts", help="counts and floors of both languages")
    args = parser.parse_args(arguments)

    def act() -> int | None:
        if args.action == "judge":
            return judge(args.file, args.language)
        if args.action == "facts":
            print(facts_table())
        else:
            print("\n".join(tale.text for tale in generate(args.language, args.seed, args.n)))
        return None

    return run_command(act)
