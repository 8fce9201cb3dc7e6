"""Where the training part of a text ends and the validation part begins."""

from collections.abc import Sequence

import numpy as np

from .textfile import Document, document

MANY_DOCUMENTS = 20  # with this many, the split falls between documents
NEAR = 2**20  # characters before the split in which a line end is searched


def split_documents(documents: Sequence[str | Document], val_fraction: float) -> tuple[list[Document], list[Document]]:
    """Training and validation documents. The last `val_fraction` of the characters are for validation.

    With 20 documents or more the split falls between two of them, as near as possible to that position. Otherwise it
    falls at the last line end before the position. If there is none within a tenth of the text or a million characters,
    it falls at the position itself.

    >>> split_documents(["one\\n" * 5], 0.35)
    (['one\\none\\none\\n'], ['one\\none\\n'])
    """
    documents = [document(text) for text in documents]
    ends = np.cumsum([len(text) for text in documents])
    total = int(ends[-1])
    position = min(int(total * (1 - val_fraction)), total - 1)
    if len(documents) >= MANY_DOCUMENTS:
        index = 1 + int(np.abs(ends[:-1] - position).argmin())
        return documents[:index], documents[index:]
    index = int(np.searchsorted(ends, position, side="right"))
    position -= int(ends[index]) - len(documents[index])
    text = documents[index]
    first = max(0, position - max(1, min(total // 10, NEAR)))
    line_end = str(text[first:position]).rfind("\n") + 1
    cut = first + line_end if line_end else position
    train, val = [*documents[:index], text[:cut]], [text[cut:], *documents[index + 1 :]]
    return [part for part in train if len(part)], [part for part in val if len(part)]
