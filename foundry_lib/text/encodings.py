"""Text in another encoding than UTF-8: what it looks like, and the line of Python that converts it."""

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import CorpusError

# Bytes also decode in a wrong encoding, but to rare characters. At least a tenth of real Chinese, and far more of the
# other languages, consists of the characters below.
CHINESE = set(
    "，。！？：；、“”的一是不了在人有我他她它这這个個们們来來上大中国國到说說时時要就出会會也你对對生能子那得于於着著下自之年过過"
)
JAPANESE = {chr(code) for code in range(0x3041, 0x3094)}  # hiragana
KOREAN = set("이다는을가의에고지하기리사은로어나를한도자서대아인그시해라있것들과만게으일니")
CYRILLIC = {chr(code) for code in range(0x430, 0x450)}  # а to я
WESTERN = {chr(code) for code in range(0xC0, 0x100)} - set("×÷") | set("’‘“”–—…•€œŒŠšŽž«»°£§¿¡ªº·´©®\xa0")

# encoding of Python → its name for a person, the characters that show it, and the share of them that is enough
WIDE = {
    "gb18030": ("GB18030 (or GBK)", CHINESE, 0.05),
    "big5": ("Big5", CHINESE, 0.05),
    "utf-16-le": ("UTF-16-LE", CHINESE, 0.05),
    "utf-16-be": ("UTF-16-BE", CHINESE, 0.05),
    "shift_jis": ("Shift-JIS (Japanese)", JAPANESE, 0.2),
    "euc_jp": ("EUC-JP (Japanese)", JAPANESE, 0.2),
    "cp949": ("EUC-KR (Korean)", KOREAN, 0.2),
}
CYRILLIC_NARROW = {
    "cp1251": ("Windows-1251 (Cyrillic)", CYRILLIC, 0.8),
    "koi8_r": ("KOI8-R (Cyrillic)", CYRILLIC, 0.8),
}
WESTERN_NARROW = {"cp1252": ("Windows-1252 (or Latin-1)", WESTERN, 0.9)}
NAMES = {encoding: name for table in (WIDE, CYRILLIC_NARROW, WESTERN_NARROW) for encoding, (name, *_) in table.items()}


CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f]")


def n_control(text: str) -> int:
    """The number of control characters in a text if they are more than one in fifty; else 0.

    >>> n_control("one\\x07"), n_control("one\\x07" + "two " * 50)
    (1, 0)
    """
    n = len(CONTROL.findall(text))
    return n if n > len(text) // 50 else 0


def attempt(data: bytes, ends: bool, encoding: str) -> str:
    """The data in an encoding; "" where they do not decode. ends: False allows a last character that is cut."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(data, final=ends)
    except UnicodeDecodeError:
        return ""


def share(text: str, characters: set[str]) -> float:
    """The share of `characters` among the first 5,000 characters of a text that are not ASCII.

    >>> share("a café, a naïve one", set("é"))
    0.5
    """
    foreign = [character for character in text if ord(character) > 127][:5000]
    return sum(character in characters for character in foreign) / len(foreign) if foreign else 0.0


def guess(data: bytes, ends: bool) -> str | None:
    """The most likely encoding of bytes that are not UTF-8, by the characters of its language; None if none fits."""
    # In Cyrillic, letters that are not ASCII are neighbours of each other; in Western languages they are single.
    in_pairs = 4 * len(re.findall(rb"[\x80-\xff]{2}", data)) > len(re.findall(rb"[\x80-\xff]", data))
    narrow = CYRILLIC_NARROW if in_pairs else WESTERN_NARROW
    for candidates in (WIDE, {} if n_control(data.decode("latin-1")) else narrow):
        shares = {name: share(attempt(data, ends, name), characters) for name, (_, characters, _) in candidates.items()}
        fitting = {name: value for name, value in shares.items() if value > candidates[name][2]}
        if fitting:
            return max(fitting, key=fitting.get)
    return None


def wide_encoding(data: bytes) -> str | None:
    """UTF-16 or UTF-32, by the byte-order mark or by the positions of NUL bytes; None for anything else."""
    if data.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "utf-32"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    nul = [data[i:4000:4].count(0) / (len(data[:4000]) / 4) for i in range(4)]  # share of NUL at each position of four
    if min(nul[2:]) > 0.9 or min(nul[:2]) > 0.9:
        return "utf-32-le" if nul[3] > nul[0] else "utf-32-be"
    low, high = sorted((nul[0] + nul[2], nul[1] + nul[3]))
    if high > 0.1 and high > 4 * low:
        return "utf-16-le" if nul[1] + nul[3] == high else "utf-16-be"
    return None


def refuse_wide(data: bytes, ends: bool, path: Path):
    """Raise CorpusError for a file that begins as UTF-16 or UTF-32 do."""
    encoding = wide_encoding(data)
    if encoding and not (text := attempt(data, ends, encoding)):
        raise CorpusError(f"{path} is not text: it holds NUL bytes. Export it as plain text in UTF-8.")
    if encoding:
        raise convert(path, encoding.upper(), encoding, f"its first line is {first_line(text)!r}")


def first_line(text: str) -> str:
    """The first line that is not blank, without a byte-order mark, and not too long to print."""
    return next((line.strip("\ufeff \t\r") for line in text.splitlines() if line.strip("\ufeff \t\r")), "")[:40]


def telling_line(text: str) -> tuple[int, str]:
    """The first line that is not all ASCII: its number, from 1, and 40 characters of it, one not ASCII among them.

    >>> telling_line("A header line\\nthe owl says 你好")
    (2, 'the owl says 你好')
    """
    for number, line in enumerate(text.split("\n"), 1):
        first = next((index for index, character in enumerate(line) if ord(character) > 127), None)
        if first is not None:
            return number, line[max(0, first - 39) :][:40].strip("\ufeff \t\r")
    return 1, ""


def rewrite(path: Path, expression: str = "{}", encoding: str = "utf-8", errors: str = "") -> str:
    """A line of Python that writes a changed text to a new file. {} in the expression stands for the file's text."""
    options = f"'{encoding}', '{errors}'" if errors else f"'{encoding}'"
    text = expression.format(f"Path({str(path)!r}).read_text({options})")
    return f"from pathlib import Path; Path('new.txt').write_text({text}, 'utf-8')"


def convert(path: Path, name: str, encoding: str, seen: str) -> CorpusError:
    """The error to raise for a text in another encoding, with the line of Python that converts it."""
    return CorpusError(
        f"{path} is not UTF-8; it looks like {name}. If {seen}, convert it to a new file: "
        f"{rewrite(path, encoding=encoding)}"
    )


@dataclass(frozen=True)
class Stretch:
    """Bytes of a file that are not UTF-8 from `wrong` on. before, lines: bytes and line ends of the file before them.

    ends: whether the file ends with these bytes.
    """

    path: Path
    data: bytes
    wrong: int
    before: int
    lines: int
    ends: bool

    @property
    def line(self) -> int:
        """The number of the line with the wrong byte, from 1."""
        return self.lines + self.data.count(b"\n", 0, self.wrong) + 1

    @property
    def words(self) -> str:
        """Some characters of the line around the wrong byte, which is written \\x92."""
        begin = max(self.data.rfind(b"\n", 0, self.wrong) + 1, self.wrong - 30)
        before = self.data[begin : self.wrong].decode("utf-8", "ignore")  # without a character that is cut
        after = self.data[self.wrong : self.wrong + 30].split(b"\n")[0]
        return (before + codecs.getincrementaldecoder("utf-8")("backslashreplace").decode(after)).strip()


def not_utf8(stretch: Stretch, count_wrong: Callable[[], int]) -> CorpusError:
    """The error to raise for a file that is not UTF-8. It names what the bytes look like, and what to do.

    count_wrong: counts the wrong bytes of the whole file. It is called only where they are few.
    """
    path, data, wrong = stretch.path, stretch.data, stretch.wrong
    valid = data.decode("utf-8", "ignore")
    n_foreign, n_wrong = sum(character > "\x7f" for character in valid), len(data) - len(valid.encode("utf-8"))
    if stretch.ends and is_begun(data[wrong:]) and (n_foreign or n_wrong > 1):
        return CorpusError(
            f"{path} is cut within its last character, of which it has only {data[wrong:].hex(' ')}. Copy the file "
            f"again, or write a new file without it: {rewrite(path, errors='ignore')}"
        )
    if n_foreign > n_wrong:
        n_wrong = count_wrong()
        return CorpusError(
            f"{path} is UTF-8 except for {n_wrong:,} wrong byte{'s' * (n_wrong > 1)}, the first in line "
            f'{stretch.line:,}: "{stretch.words}". Correct this in an editor, or write a new file that has \ufffd '
            f"instead: {rewrite(path, errors='replace')}"
        )
    start = data.rfind(b"\n", 0, wrong) + 1 if stretch.before else 0
    if encoding := guess(data[start:], stretch.ends):
        number, line = telling_line(attempt(data[start:], stretch.ends, encoding))
        number += stretch.lines + data.count(b"\n", 0, start)
        seen = f"its {'first line' if number == 1 else f'line {number:,}'} is {line!r}"
        return convert(path, NAMES[encoding], encoding, seen)
    if n := n_control(data[:20_000].decode("latin-1")):
        return binary(path, n)
    return CorpusError(
        f"{path} is not UTF-8: byte {stretch.before + wrong:,}, in line {stretch.line:,}, is 0x{data[wrong]:02x}, and "
        f"no other encoding fits. Open it in an editor and save it as plain text in UTF-8."
    )


def binary(path: Path, n: int) -> CorpusError:
    """The error to raise for a file with n control characters."""
    return CorpusError(f"{path} looks binary: {n:,} control characters. Export it as plain text in UTF-8.")


def is_begun(data: bytes) -> bool:
    """Whether bytes are the beginning of one UTF-8 character, and not all of it.

    >>> is_begun("的".encode()[:2]), is_begun("的".encode())
    (True, False)
    """
    try:
        return codecs.utf_8_decode(data, "strict", False) == ("", 0)
    except UnicodeDecodeError:
        return False
