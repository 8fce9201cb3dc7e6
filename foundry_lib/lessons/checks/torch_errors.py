"""PyTorch's usual errors in plain sentences, with the letters of the exercise beside the sizes."""

import re
from collections.abc import Callable

SIZES = r"The size of tensor a \((\d+)\) must match the size of tensor b \((\d+)\)"
NO_GRADIENT = "The loss has no path back to the weights: `no_grad`, `detach` or a number of Python has cut it off."
TWO_SIZES = (
    "Two tensors do not fit: on one axis, one has the size {0} and the other {1}. PyTorch compares shapes from the "
    "last axis backwards. Which shape has each tensor of this line, and has an axis disappeared?"
)

SENTENCES = {  # a pattern of PyTorch's text → a sentence; {0} is the first number that the pattern finds
    SIZES: TWO_SIZES,
    r"mat1 and mat2 shapes cannot be multiplied \((\d+)x(\d+) and (\d+)x(\d+)\)": (
        "`a @ b` needs the last axis of a and the second to last axis of b to be equal. Here a ends with {1} and b "
        "has {2}. Which matrix lies on its side?"
    ),
    r"Expected size for first two dimensions of batch2 tensor to be: \[\d+, (\d+)\] but got: \[\d+, (\d+)\]": (
        "`a @ b` needs the last axis of a and the second to last axis of b to be equal. Here a ends with {0} and b "
        "has {1}. Which two axes should meet?"
    ),
    r"Dimension out of range \(expected to be in range of \[-(\d+), \d+\], but got (-?\d+)\)": (
        "There is no axis {1}: this tensor has {0} axes, and the last one is −1. Which axis is meant, for a tensor "
        "with any number of axes?"
    ),
    r"(?:index |^)(-?\d+) is out of bounds for dimension (\d+) with size (\d+)": (
        "The index {0} does not exist on axis {1}, which has {2} positions. Which indices does this line use?"
    ),
    r"index out of range in self": "An embedding was asked for a row that it does not have.",
    r"Expected target size": (
        "`cross_entropy` looks for the V choices on axis 1: scores (B·T, V) with targets (B·T), or (B, V, T) with "
        "(B, T). Which shapes have yours?"
    ),
    r"only one element tensors can be converted|only integer tensors of a single element|only length-1 arrays": (
        "A function of Python's `math` takes one number, and this is a tensor of several. Which function of torch does "
        "the same for each number?"
    ),
    r"selected index k out of range": "`topk` was asked for more numbers than a row has.",
    r"shape '\[([^\]]*)\]' is invalid for input of size (\d+)": (
        "A tensor of {1} numbers cannot take the shape ({0}). Which sizes multiply to the number that it has?"
    ),
    r"Sizes of tensors must match except in dimension (\d+). Expected size (\d+) but got size (\d+)": (
        "Tensors that are joined along axis {0} must agree on all others. Here one has {1} and another {2}."
    ),
    r"stack expects each tensor to be equal size": "`stack` takes tensors of one shape, and these differ in shape.",
    r"cannot be converted to Scalar": "`item()` takes a tensor of one number, and this one has more.",
    r"Boolean value of Tensor with more than one value is ambiguous": (
        "`if`, `while`, `and` or `max` of Python needs one True or False, and this comparison gives one per number of "
        "the tensor. Which function chooses for each number by itself?"
    ),
    r"same dtype": "The two tensors of a product have different dtypes. Which line changed the dtype of only one?",
    r"does not require grad": NO_GRADIENT,
    r"grad can be implicitly created only for scalar outputs": (
        "`backward` starts from one number, and this tensor has more. Which of your values is the loss?"
    ),
    r"Trying to backward through the graph a second time": (
        "`backward` ran twice through the same calculation. How often should it run for one loss?"
    ),
}


def torch_error_in_words(text: str, letters: Callable[[int], str] = str) -> str | None:
    """PyTorch's text as a sentence; None for a text that is not in the table.

    letters: a size with the letter that it has in the exercise.

    >>> torch_error_in_words("selected index k out of range")
    '`topk` was asked for more numbers than a row has.'
    """
    for pattern, sentence in SENTENCES.items():
        found = re.search(pattern, text)
        if found:
            sizes = pattern.startswith(("The size", "mat1", "Expected size"))
            return sentence.format(*(letters(int(n)) if sizes else n for n in found.groups()))
    return None
