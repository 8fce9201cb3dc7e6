"""Shapes in letters: B sequences of T tokens, D channels each. README has the legend of the letters.

    B, T, D = shapes(x, "B T D")             # the sizes of x; ShapeError unless x has three axes
    shapes(q, "B H T d", B=B, T=T)           # q's B and T must be those of x

    def my_norm(x: Shape("... D"), weight: Shape("D"), eps=1e-5) -> Shape("... D"):
        ...

    checked(my_norm)(x, weight)              # compares every tensor of this call with the annotations
    with checked_shapes(model):              # the same for each module of a model
        model(idx)

An annotation costs nothing until a check is asked for: the function runs as it is written.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from .errors import ShapeError


class Shape:
    """The shape of a tensor in letters, as an annotation: `x: Shape("B T D")`.

    One word per axis. A letter is a size that is the same wherever the letter stands in one call. A number is that
    size, "d/2" is half of d, and "..." is any number of axes, the same ones wherever it stands.
    """

    def __init__(self, letters: str):
        self.letters = letters
        self.axes = letters.split()

    def __repr__(self) -> str:
        return f'Shape("{self.letters}")'

    def bind(self, shape: tuple[int, ...], sizes: dict, what: str = ""):
        """Compare a shape with the letters, and write the size of each new letter into `sizes`.

        Raises ShapeError, which names the tensor by `what`, where the number of axes or a known size differs.
        """
        axes, found = self._without_dots(tuple(shape), sizes)
        fits = axes is not None and all(size in (None, n) for size, n in zip(sizes_of(axes, sizes), found, strict=True))
        if not fits:
            raise ShapeError(f"{what}: " * bool(what) + self.difference(tuple(shape), sizes))
        for axis, n in zip(axes, found, strict=True):
            if axis.endswith("/2"):
                sizes.setdefault(axis.removesuffix("/2"), 2 * n)
            elif not axis.isdecimal():
                sizes.setdefault(axis, n)

    def _without_dots(self, shape: tuple[int, ...], sizes: dict):
        """The axes after "..." and their sizes; None for the axes where their number is wrong."""
        if self.axes[:1] != ["..."]:
            return (self.axes if len(self.axes) == len(shape) else None), shape
        axes = self.axes[1:]
        front = shape[: len(shape) - len(axes)]
        if len(shape) < len(axes) or sizes.setdefault("...", front) != front:
            return None, shape
        return axes, shape[len(front) :]

    def difference(self, shape: tuple[int, ...], sizes: dict) -> str:
        """What was expected and what was found, in letters and numbers, and a question where the cause is likely.

        >>> Shape("B T D").difference((2, 48, 5), {"B": 2, "T": 5, "D": 48})
        'expected (B, T, D) = (2, 5, 48), found (2, 48, 5): are two axes exchanged?'
        """
        axes = self.axes
        if axes[:1] == ["..."] and "..." in sizes:
            axes = [*map(str, sizes["..."]), *axes[1:]]
        known = sizes_of(axes, sizes)
        expected = in_brackets(self.axes)
        if any(known):
            expected += f" = {in_brackets([axis if n is None else n for axis, n in zip(axes, known, strict=True)])}"
        return f"expected {expected}, found {in_brackets(shape)}{question(axes, known, shape)}"


def question(axes: list[str], known: list[int | None], shape: tuple[int, ...]) -> str:
    """The likely cause, where one can be named: a number of axes, two axes exchanged, or one size."""
    more = len(shape) - len(known)
    if "..." in axes:  # any number of axes would do
        return ""
    if more:
        return f": {'one axis' if abs(more) == 1 else f'{abs(more)} axes'} {'too many' if more > 0 else 'missing'}"
    wrong = [i for i, n in enumerate(known) if n not in (None, shape[i])]
    for i in wrong:
        for j in range(len(known)):
            exchanged = list(shape)
            exchanged[i], exchanged[j] = exchanged[j], exchanged[i]
            if i != j and all(n in (None, m) for n, m in zip(known, exchanged, strict=True)):
                return ": are two axes exchanged?"
    return f": {axes[wrong[0]]} differs" if len(wrong) == 1 and not axes[wrong[0]].isdecimal() else ""


def sizes_of(axes: list[str], sizes: dict) -> list[int | None]:
    """The size of each axis as far as it is known, else None.

    >>> sizes_of(["2", "T", "d/2"], {"d": 8})
    [2, None, 4]
    """

    def size(axis: str) -> int | None:
        if axis.isdecimal():
            return int(axis)
        if axis.endswith("/2"):
            whole = sizes.get(axis.removesuffix("/2"))
            return None if whole is None else whole // 2
        return sizes.get(axis)

    return [size(axis) for axis in axes]


def in_brackets(values) -> str:
    """Values as Python writes a shape.

    >>> in_brackets(["B", "T"]), in_brackets([3])
    ('(B, T)', '(3,)')
    """
    values = [str(value) for value in values]
    return f"({values[0]},)" if len(values) == 1 else f"({', '.join(values)})"


def shapes(x: Tensor, letters: str, **sizes: int) -> tuple[int, ...]:
    """The shape of x, after a check against the letters and the sizes that are given for some of them.

    Raises ShapeError, which says in letters what was expected and what was found.
    >>> import torch
    >>> B, T, D = shapes(torch.zeros(2, 5, 48), "B T D", T=5)
    >>> B, D
    (2, 48)
    """
    if not isinstance(x, Tensor):
        found = f"a value of type {type(x).__name__}"
        raise ShapeError(f"expected a tensor of shape {in_brackets(letters.split())}, found {found}")
    Shape(letters).bind(x.shape, dict(sizes))
    return tuple(x.shape)


def checked(function: Callable, **sizes: int) -> Callable:
    """The function, with a check of its tensors at each call: its arguments and what it returns.

    Its annotations say the shapes; arguments without a `Shape` are not looked at. A result of several tensors is
    annotated by a tuple of Shapes. sizes: known sizes of letters, such as D=48. The call raises ShapeError.
    """
    return watched(function, getattr(function, "__name__", "the function"), sizes)


def watched(function: Callable, name: str, sizes: dict[str, int]) -> Callable:
    """`checked`, with the name by which errors call the function."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args, **kwargs):
        letters = dict(sizes)
        for argument, value in signature.bind(*args, **kwargs).arguments.items():
            compare(signature.parameters[argument].annotation, value, letters, f"{argument} of {name}")
        result = function(*args, **kwargs)
        compare(signature.return_annotation, result, letters, f"the result of {name}")
        return result

    return call


def compare(annotation, value, sizes: dict, what: str):
    """Compare a tensor, or a tuple of tensors, with its annotation. None and values of other types pass."""
    if isinstance(annotation, Shape) and isinstance(value, Tensor):
        annotation.bind(value.shape, sizes, what)
    elif isinstance(annotation, tuple) and isinstance(value, tuple):
        for number, (part, tensor) in enumerate(zip(annotation, value, strict=False), 1):
            compare(part, tensor, sizes, f"{what}, number {number}")


def is_annotated(function: Callable) -> bool:
    """Whether a function has a Shape among its annotations."""
    annotations = list(getattr(function, "__annotations__", {}).values())
    parts = [part for each in annotations if isinstance(each, tuple) for part in each]
    return any(isinstance(part, Shape) for part in annotations + parts)


def letters_of(config) -> dict[str, int]:
    """The letters that a ModelConfig fixes: D, H, K, d, F and V."""
    names = dict(D="dim", H="n_heads", K="n_kv_heads", d="head_dim", F="hidden_dim", V="vocab_size")
    return {letter: getattr(config, name) for letter, name in names.items()}


@contextmanager
def checked_shapes(model: nn.Module) -> Iterator[nn.Module]:
    """Until the block ends, every module of the model whose `forward` is annotated checks its shapes.

    D, H, K, d, F and V are those of `model.config`. Raises ShapeError, which names the module, at the first tensor
    that does not fit.
    """
    sizes = letters_of(model.config) if hasattr(model, "config") else {}
    for path, module in model.named_modules():
        if is_annotated(type(module).forward):
            module.forward = watched(module.forward, path or "the model", sizes)
    try:
        yield model
    finally:
        for module in model.modules():
            module.__dict__.pop("forward", None)
