"""Is a head an induction head? The test on texts without meaning: random tokens, and the same tokens once more.

Only a head that finds an earlier copy of the token just read can attend to the token after it. Source: Olsson et al.
2022, "In-context learning and induction heads".
"""

import torch
from torch import Tensor

from ..text.tokenizer import BOS_ID
from .heads import looking


def random_halves(tokens: list[int], n: int, length: int, seed: int, repeat: bool = True) -> Tensor:
    """n texts (n, 1 + 2 · length): BOS, `length` different random tokens, and the same again.

    tokens: the ids to choose from, at least twice `length`. repeat: False gives other tokens in the second half.

    >>> random_halves([5, 6, 7, 8], 1, 2, seed=0).tolist(), random_halves([5, 6, 7, 8], 1, 2, 0, False).tolist()
    ([[1, 5, 6, 5, 6]], [[1, 5, 6, 8, 7]])
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.stack([torch.randperm(len(tokens), generator=generator)[: 2 * length] for _ in range(n)])
    ids = torch.tensor(tokens)[chosen]
    first, other = ids[:, :length], ids[:, length:]
    return torch.cat((torch.full((n, 1), BOS_ID), first, first if repeat else other), 1)


@torch.no_grad()
def induction_scores(model, ids: Tensor) -> Tensor:
    """For each head and text, the mean weight of the second half on the position length − 1 back: (layers, H, n).

    ids: (n, 1 + 2 · length), from `random_halves`. In a repeated text that position is the one after the earlier copy
    of the token just read. In a text whose halves differ it is only a distance: the control.
    """
    length = (ids.shape[1] - 1) // 2
    with looking(model) as watched:
        model(ids.to(model.device))
    weights = torch.stack([layer.weights for layer in watched])  # (layers, n, H, T, T)
    queries = torch.arange(1 + length, 1 + 2 * length, device=weights.device)
    return weights[..., queries, queries - length + 1].mean(-1).transpose(1, 2).cpu()


def exchanged(ids: Tensor, targets: list[int], tokens: list[int]) -> Tensor:
    """A text in which some tokens are other ones wherever they occur, so that copies stay copies.

    ids: (T,). targets: positions of the tokens to exchange. tokens: the new ones, the first for the first target.

    >>> exchanged(torch.tensor([1, 5, 6, 9, 5, 6]), [4, 5], [7, 8]).tolist()
    [1, 7, 8, 9, 7, 8]
    """
    old = dict.fromkeys(ids[targets].tolist())
    new = dict(zip(old, tokens, strict=False))
    return torch.tensor([new.get(token, token) for token in ids.tolist()])
