"""Files that are not plain text: a PDF, an archive, text with colour codes. JSON and tables are named, and learned."""

import csv
import re
import zipfile
from pathlib import Path

from ..errors import CorpusError
from .encodings import binary, n_control, rewrite

SAVE_AS_TEXT = "Open it in its own program and save it as plain text in UTF-8."
UNPACK = (
    "Unpack it: from pathlib import Path; import {module}; "
    "Path('new.txt').write_bytes({module}.decompress(Path({path!r}).read_bytes()))"
)

# the first bytes → what the file is, and what to do with it
FORMATS = {
    b"%PDF-": ("a PDF", "Copy its text into a plain text file, with pdftotext for example."),
    b"\x1f\x8b": ("compressed with gzip", UNPACK.replace("{module}", "gzip")),
    b"\xfd7zXZ\0": ("compressed with xz", UNPACK.replace("{module}", "lzma")),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "Unpack it and name one text file in it."),
    b"Rar!\x1a\x07": ("a RAR archive", "Unpack it and name one text file in it."),
    b"(\xb5/\xfd": ("compressed with zstd", "Unpack it: zstd -d FILE"),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an old Word, Excel or PowerPoint document", SAVE_AS_TEXT),
    b"\x89PNG\r\n\x1a\n": ("a picture (PNG)", "Name a text file."),
    b"\xff\xd8\xff": ("a picture (JPEG)", "Name a text file."),
    b"GIF89a": ("a picture (GIF)", "Name a text file."),
    b"SQLite format 3\0": ("a SQLite database", "Export its text to a plain text file in UTF-8."),
    b"PAR1": ("a Parquet table", "Export its text to a plain text file in UTF-8."),
    b"\x93NUMPY": ("a NumPy array", "Name a text file."),
    b"\x7fELF": ("a program", "Name a text file."),
}
ZIPPED = {
    "word/": ("a Word document", SAVE_AS_TEXT),
    "xl/": ("an Excel workbook", SAVE_AS_TEXT),
    "ppt/": ("a PowerPoint presentation", SAVE_AS_TEXT),
    "META-INF/": ("an EPUB book or another zipped document", SAVE_AS_TEXT),
}


def refuse_other_formats(data: bytes, path: Path):
    """Raise CorpusError where the first bytes of a file are those of a format that is not text."""
    answer = next((answer for start, answer in FORMATS.items() if data.startswith(start)), None)
    if re.match(rb"BZh[1-9]1AY&SY", data):
        answer = ("compressed with bzip2", UNPACK.replace("{module}", "bz2"))
    elif data.startswith(b"PK\x03\x04"):
        answer = zipped(path)
    elif data[257:262] == b"ustar":
        answer = ("a tar archive", "Unpack it and name one text file in it: python -m tarfile -e FILE")
    if answer:
        kind, advice = answer
        raise CorpusError(f"{path} is {kind}, not plain text. {advice.replace('{path!r}', repr(str(path)))}")


def zipped(path: Path) -> tuple[str, str]:
    """The kind of a zip archive, by the names of the files in it, and what to do with it."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        names = []
    for start, answer in ZIPPED.items():
        if any(name.startswith(start) for name in names):
            return answer
    return "a zip archive", "Unpack it and name one text file in it: python -m zipfile -e FILE FOLDER"


# codes that a terminal obeys: colours, links, titles
TERMINAL = r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)|\x1b[ -/]*.?"


def refuse_control(text: str, path: Path, lines: int):
    """Raise CorpusError for characters that plain text does not have. lines: line ends of the file before `text`."""

    def line(position: int) -> str:
        return f"line {lines + text.count(chr(10), 0, position) + 1:,}"

    if (nul := text.find("\0")) >= 0:
        raise CorpusError(
            f"{path} holds a NUL character in {line(nul)}, so it is not plain text. Remove it, or export the text "
            f"again."
        )
    if (escape := text.find("\x1b")) >= 0:
        if "\x1b$B" in text or "\x1b$@" in text:
            raise CorpusError(
                f"{path} is not UTF-8; it looks like ISO-2022-JP (Japanese). Convert it to a new file: "
                f"{rewrite(path, encoding='iso2022_jp')}"
            )
        code = re.match(TERMINAL, text[escape : escape + 40])[0].replace("\x1b", "ESC").replace("\x07", "")
        without = "re.sub(r'" + TERMINAL + "', '', {})"
        raise CorpusError(
            f"{path} holds codes for the colours of a terminal, the first, {code}, in {line(escape)}. Write a new file "
            f"without them: import re; {rewrite(path, without)}"
        )
    for part in (text[:20_000], text):
        if n := n_control(part):
            raise binary(path, n)


def markup(start: str) -> str | None:
    """The name of the format that a text is written in, by its first characters; None for prose, verse or a program.

    >>> markup('{"title": "Owls"}'), markup("a,b,c\\n" * 5), markup("The owl slept.")
    ('JSON', 'a table (CSV)', None)
    """
    if start.startswith("{\\rtf"):
        return "RTF"
    if re.match(r"(?i)\s*<(!doctype html|html|head|body)\b", start):
        return "HTML"
    if start.lstrip().startswith("<?xml"):
        return "XML"
    if re.match(r'\s*(\[\s*)*\{\s*"[^"\n]*"\s*:|\s*\[\s*("[^"\n]*"|-?\d+(\.\d+)?)\s*,', start):
        return "JSON"
    return "a table (CSV)" if is_table(start) else None


def is_table(start: str) -> bool:
    """Whether five lines or more all have as many columns: two with tabs between them, three with commas.

    >>> is_table("a,b,c\\n" * 5), is_table("La, la, la\\n" * 5)
    (True, False)
    """
    lines = [line for line in start.splitlines()[:20] if line.strip()]
    if len(start) > 3000:
        lines = lines[:-1] or lines  # the last line may be cut
    for separator, columns in (("\t", 2), (",", 3), (";", 3)):
        try:
            rows = list(csv.reader(lines, delimiter=separator))
        except csv.Error:
            continue
        widths = {len(row) for row in rows}
        verse = separator != "\t" and all(any(cell.startswith(" ") for cell in row) for row in rows)
        if len(rows) >= 5 and len(widths) == 1 and widths.pop() >= columns and not verse:
            return True
    return False
