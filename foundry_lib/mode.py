"""Evaluation mode: dropout and the like rest while a model is measured or generates."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def eval_mode(model) -> Iterator[None]:
    """Hold every module of the model in evaluation mode; afterwards each has its own mode again."""
    modules = [module for module in model.modules() if module.training]
    try:
        for module in modules:
            module.training = False
        yield
    finally:
        for module in modules:
            module.training = True
