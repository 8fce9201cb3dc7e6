"""RoPE: give each query and key its position by rotating pairs of channels (Su et al. 2021, RoFormer).

Channel i is paired with channel i + d/2 (*half-split*), as in Hugging Face's Llama. Meta's own Llama pairs neighbours,
2i with 2i + 1 (*interleaved*, usually written with complex numbers). The two differ only by a fixed order of the
channels, which `wq` and `wk` learn anyway. Real numbers export cleanly and run on every device.
"""

import torch

from ..shape import Shape


def rope_table(head_dim: int, max_seq_len: int, theta: float = 10000.0) -> Shape("2 T d/2"):
    """Cosine and sine of every angle: position t turns pair i by t · theta^(−2i/d) radians.

    T is `max_seq_len`. `cos, sin = table` works, and `table[:, a:b]` selects positions a to b−1.
    """
    exponent = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim  # (d/2,)
    speed = 1.0 / theta**exponent  # radians per position; pair 0 turns fastest
    angle = torch.outer(torch.arange(max_seq_len, dtype=torch.float32), speed)  # (T, d/2)
    return torch.stack((angle.cos(), angle.sin()))


def rotate(x: Shape("... T d"), table: Shape("2 T d/2")) -> Shape("... T d"):
    """Rotate each pair of channels of x by its position's angle.

    (a, b) → (a · cos − b · sin, b · cos + a · sin)
    >>> quarter_turn = torch.tensor([[[0.0, 0.0]], [[1.0, 1.0]]])  # cosines 0, sines 1
    >>> rotate(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), quarter_turn)  # pairs (1, 3) and (2, 4)
    tensor([[-3., -4.,  1.,  2.]])
    """
    cos, sin = table  # (T, d/2) each
    a, b = x.chunk(2, dim=-1)  # (..., T, d/2) each
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def apply_rotary_emb(
    xq: Shape("B H T d"), xk: Shape("B K T d"), freqs_cis: Shape("2 T d/2")
) -> (Shape("B H T d"), Shape("B K T d")):
    """Rotate queries and keys by their positions; `freqs_cis` is a slice of `rope_table`.

    A rotation keeps lengths. The product of a query at position m and a key at n depends only on m − n.
    """
    return rotate(xq, freqs_cis), rotate(xk, freqs_cis)
