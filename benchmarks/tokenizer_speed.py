"""How fast does the tokenizer learn and encode, and how much text does a token carry?

Our lossless recipe, `Tokenizer.train` and `encode_documents`, against SentencePiece's BPE with its defaults on the
lines of the same documents, in turns, on two threads. About 10 MB in all: tales as prose, the standard library's source
as code, and the smaller reference of the language that Python carries. Both learn from the first nine tenths; bytes a
token are those of the last tenth, its newlines and spaces counted, which the defaults drop or fold before they encode.
Lossless: whether the last tenth came back as it was. Of 8,192 pieces asked for the tales give only some: ours finds
3,009 in them and the defaults 2,157, so that on the tales the larger vocabulary has its part in the ratio.
"""

import contextlib
import io
import json
import sysconfig
import tempfile
import warnings
from functools import partial
from pathlib import Path

import race
import report

THREADS, SIZE = 2, 5_000_000  # bytes of each large text
VOCABS = (1024, 8192)
AGAINST = "SentencePiece's defaults"


class Texts:
    """Writes the texts, each a list of documents: {name}.json in `folder`."""

    def __init__(self, folder: Path, size: int = SIZE):
        from foundry_lib import read_corpus
        from foundry_lib.tales import tell

        tales = (tale.text for tale in tell("en", 0, size // 200))
        files = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
        code = (file.read_text(encoding="utf-8", errors="replace") for file in files if is_source(file))
        reference = read_corpus("python-docs").documents
        for name, documents in {"tales": tales, "code": code, "reference": reference}.items():
            (folder / f"{name}.json").write_text(json.dumps(self.first(documents, size)), encoding="utf-8")

    def first(self, documents, size: int) -> list[str]:
        """Documents up to `size` bytes together, each once."""
        kept, held = {}, 0
        for document in documents:
            if document in kept:
                continue
            held += len(document.encode())
            if held > size:
                break
            kept[document] = None
        return list(kept)


def is_source(file: Path) -> bool:
    """Not what is installed beside the library, and none of its tests, which hold what no person would write."""
    return not {"site-packages", "dist-packages", "test", "tests"} & set(file.parts) and file.stat().st_size > 0


class Tokens:
    """What both have: a text, learned from and held out."""

    def __init__(self, folder: Path, name: str, vocab: int):
        self.documents = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        cut = len(self.documents) * 9 // 10
        self.learned, self.held_out, self.vocab = self.documents[:cut], self.documents[cut:], vocab

    def facts(self) -> dict:
        size = sum(len(document.encode()) for document in self.held_out)
        return dict(
            bytes=sum(len(document.encode()) for document in self.documents),
            bytes_a_token=size / self.encode(self.held_out),
            lossless=all(self.back(document) == document for document in self.held_out),
            pieces=self.pieces(),
        )

    def encode(self, documents: list[str] | None = None) -> int:
        """Encode all documents; the number of tokens, without signs of begin and end."""
        documents = self.documents if documents is None else documents
        return self.count(documents)


class Ours(Tokens):
    def __init__(self, folder: Path, name: str, vocab: int):
        import foundry_lib  # noqa: F401  here, so that it is no part of learning

        super().__init__(folder, name, vocab)

    def learn(self):
        from foundry_lib import Corpus, Tokenizer

        with warnings.catch_warnings(action="ignore"):  # the tales have fewer pieces than 8,192
            self.tokenizer = Tokenizer.train(Corpus("text", tuple(self.learned)), self.vocab)

    def count(self, documents: list[str]) -> int:
        return sum(map(len, self.tokenizer.encode_documents(documents))) - 2 * len(documents)

    def back(self, document: str) -> str:
        return self.tokenizer.decode(self.tokenizer.encode(document))

    def pieces(self) -> int:
        return self.tokenizer.vocab_size


class Defaults(Tokens):
    def __init__(self, folder: Path, name: str, vocab: int):
        import sentencepiece  # noqa: F401

        super().__init__(folder, name, vocab)

    def learn(self):
        import sentencepiece

        file = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(line for document in self.learned for line in document.split("\n")),
            model_writer=file,
            model_type="bpe",
            vocab_size=self.vocab,
            hard_vocab_limit=False,  # the tales have fewer pieces than 8,192
            minloglevel=2,
        )
        self.model = sentencepiece.SentencePieceProcessor(model_proto=file.getvalue())

    def count(self, documents: list[str]) -> int:
        lines = [line for document in documents for line in document.split("\n")]
        return sum(map(len, self.model.encode(lines)))

    def back(self, document: str) -> str:
        return "\n".join(self.model.decode(self.model.encode(document.split("\n"))))

    def pieces(self) -> int:
        return self.model.vocab_size()


def measure(folder: Path, name: str, vocab: int, rounds: int) -> dict[str, dict]:
    """Both recipes on one text: seconds to learn, encoding speed, and the facts."""
    with contextlib.ExitStack() as stack:
        makers = {"foundry_lib": (Ours, folder, name, vocab), AGAINST: (Defaults, folder, name, vocab)}
        rivals, _ = race.start(stack, makers, THREADS)
        learn = {who: rival.seconds("learn") for who, rival in rivals.items()}
        facts = {who: rival.call("facts") for who, rival in rivals.items()}
        seconds = race.take_turns({who: partial(rival.seconds, "encode") for who, rival in rivals.items()}, rounds)
        speeds = race.speeds(seconds, facts["foundry_lib"]["bytes"] / 1e6, AGAINST)
    return {who: facts[who] | speeds[who] | dict(learn=learn[who]) for who in rivals}


def main():
    rounds, lines, promises = report.options(__doc__, rounds=5).rounds, [], []
    header = ["text", "pieces", "", "learned in s", "encoded, MB/s", "lowest", "highest", "× its speed"]
    header += ["bytes a token", "× its bytes", "lossless"]
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        with race.Rival(Texts, folder):
            pass
        for name in ("tales", "code", "reference"):
            for vocab in VOCABS:
                found = measure(folder, name, vocab, rounds)
                mine, theirs = found["foundry_lib"], found[AGAINST]
                for who, f in found.items():
                    more = f["bytes_a_token"] / theirs["bytes_a_token"]
                    speed = [f[key] for key in ("learn", "median", "low", "high", "ratio")]
                    kept = "yes" if f["lossless"] else "no"
                    lines.append([name, f["pieces"], who, *speed, f["bytes_a_token"], more, kept])
                what = f"tokenizer, {name}, up to {vocab:,} pieces"
                if mine["bytes"] > 10**6:  # threads need some text to start on
                    promises.append(report.promise(f"{what}, encoding", mine["median"], least=5.0, unit="MB/s"))
                share = mine["bytes_a_token"] / theirs["bytes_a_token"] if mine["lossless"] else 0.0
                promises.append(report.promise(f"{what}, bytes a token × the defaults', lossless", share, least=0.95))
    title = f"Tokenizer, {THREADS} threads"
    report.write("tokenizer", [dict(title=title, header=header, rows=lines)], promises, THREADS)


if __name__ == "__main__":
    main()
