"""Exercises of lesson 01: RMSNorm."""

import torch
from torch.nn.functional import normalize

from .ladder import Exercise, leaves, near


def case(*shape, eps=1e-5, scale=1.0, offset=0.0, dtype=torch.float32):
    g = torch.Generator().manual_seed(sum(shape))
    x = scale * torch.randn(*shape, generator=g) + offset
    weight = 0.5 + torch.rand(shape[-1], generator=g)
    return {"x": x.to(dtype), "weight": weight.to(dtype), "eps": eps}


CASES = [
    case(2, 3, 8),
    case(5, 4, offset=2.0),
    case(3, 2, 5, 6, scale=30.0),
    case(7, 3, scale=0.01, eps=2e-3),
    case(4, 5, 12, dtype=torch.float64),
    case(3, 300, scale=150.0, dtype=torch.float16),
]


def wide(x):
    return x.double() if x.dtype == torch.float64 else x.float()


def reference(x, weight, eps):
    """The formula, one channel at a time."""
    squares = sum(wide(channel) ** 2 for channel in x.unbind(-1))
    scale = (squares / x.shape[-1] + eps).sqrt()
    return torch.stack([(wide(c) / scale).to(x.dtype) * w for c, w in zip(x.unbind(-1), weight, strict=True)], -1)


def scaled(x, weight, size):
    """x divided by `size` in at least 32 bits; the weight and the dtype are right."""
    return (wide(x) / size).to(x.dtype) * weight


def mean_square(x, axis=-1):
    return wide(x).pow(2).mean(axis, keepdim=True)


SQUEEZED = (
    "Right in 32 bits, but a 64-bit input was squeezed into 32 and has lost half of its digits. Which precision is the "
    "least, and which does x bring?"
)


def keeps_64_bits(exercise_reference):
    """A property: for a 64-bit input, an answer that is right to 32 bits is right to 64 bits too."""

    def holds(work, case):
        if not any(isinstance(value, torch.Tensor) and value.dtype == torch.float64 for value in case.values()):
            return True
        expected = leaves(exercise_reference(*case.values()))
        pairs = list(zip(leaves(work(*case.values())), expected, strict=True))
        coarse = all((answer - right).abs().max() <= 1e-6 * right.abs().max() for answer, right in pairs)
        return not coarse or all(near(answer, right).all() for answer, right in pairs)

    return holds


def louder(work, case):
    """Ten times the input gives the same output, where eps is small compared with the input."""
    if case["x"].dtype == torch.float16 or case["eps"] > 1e-4:
        return True
    x, weight, eps = case.values()
    return torch.allclose(work(x, weight, eps), work(10 * x, weight, eps), rtol=1e-3, atol=1e-3)


WEIGHT_TOO_EARLY = (
    "In 16 bits the weight was multiplied while x was still in 32 bits, and the product went back to x's dtype. The "
    "task names another order: which step comes just before the weight?"
)


def weight_comes_last(work, case):
    """False where 16-bit results are those of a weight multiplied in 32 bits, rounded once.

    The two orders differ by one unit of the last bit, in every fourth number or so.
    """
    x, weight, eps = case.values()
    if x.dtype != torch.float16:
        return True
    normed = wide(x) * torch.rsqrt(mean_square(x) + eps)
    twice, once = normed.to(x.dtype) * weight, (normed * weight).to(x.dtype)
    found = work(x, weight, eps)
    return (found == twice).sum() >= (found == once).sum() or not near(found, twice).all()


rms_norm = Exercise(
    "rms_norm",
    "my_rms_norm(x, weight, eps) → x's shape",
    CASES,
    reference,
    {
        "Ten times the input gives another output, and it should not: a norm takes the volume away.": louder,
        SQUEEZED: keeps_64_bits(reference),
        WEIGHT_TOO_EARLY: weight_comes_last,
    },
    shapes="... D, D -> ... D",
)


@rms_norm.mistake
def one_scale_for_all_tokens(x, weight, eps):
    """All tokens were divided by one and the same number. Whose mean square should a token be divided by?"""
    return scaled(x, weight, (mean_square(x, tuple(range(x.dim()))) + eps).sqrt())


@rms_norm.mistake
def mean_over_tokens(x, weight, eps):
    """The mean runs down the tokens, not along the channels of one token. Which axis is the last?"""
    return scaled(x, weight, (mean_square(x, -2) + eps).sqrt())


@rms_norm.mistake
def mean_over_axis_one(x, weight, eps):
    """The mean runs along axis 1, counted from the front: for x of shape (B, T, D) these are the tokens. Which number
    has the last axis, for any number of axes?"""
    return scaled(x, weight, (mean_square(x, 1) + eps).sqrt())


@rms_norm.mistake
def mean_over_axis_zero(x, weight, eps):
    """The mean runs along axis 0, across the sequences of the batch. Along which axis lie the channels of one token?"""
    return scaled(x, weight, (mean_square(x, 0) + eps).sqrt())


@rms_norm.mistake
def axis_of_the_mean_dropped(x, weight, eps):
    """The mean over D has removed the axis D, so x of shape (..., D) is divided by a tensor of shape (...). Which
    argument of `mean` keeps the axis, with size 1?"""
    return scaled(x, weight, (wide(x).pow(2).mean(-1) + eps).sqrt())


@rms_norm.mistake
def weight_multiplied_before_the_norm(x, weight, eps):
    """The weight was multiplied first, so it changes the mean square too. When does the weight come, before or after
    the division?"""
    return reference(x * weight, torch.ones_like(weight), eps)


@rms_norm.mistake
def weight_added(x, weight, eps):
    """The weight was added to the normed token. What does the formula do with it?"""
    return reference(x, torch.ones_like(weight), eps) + weight


@rms_norm.mistake
def divided_by_the_weight(x, weight, eps):
    """The normed token was divided by the weight. What does the formula do with it?"""
    return scaled(x, 1.0, (mean_square(x) + eps).sqrt()) / weight


@rms_norm.mistake
def eps_of_its_own(x, weight, eps):
    """The result does not depend on `eps`: a fixed 1e-6 stands in its place. Which argument should stand there?"""
    return reference(x, weight, 1e-6)


@rms_norm.mistake
def fixed_eps(x, weight, eps):
    """The result does not depend on `eps`: a fixed 1e-5 stands in its place. Which argument should stand there?"""
    return reference(x, weight, 1e-5)


@rms_norm.mistake
def eps_squared(x, weight, eps):
    """eps was squared before it was added. Which of the numbers under the root are squares?"""
    return reference(x, weight, eps**2)


@rms_norm.mistake
def square_of_the_mean(x, weight, eps):
    """The mean was taken first and then squared, so positive and negative channels cancel. What comes first in "root
    mean square", read from the right?"""
    return scaled(x, weight, (wide(x).mean(-1, keepdim=True).pow(2) + eps).sqrt())


@rms_norm.mistake
def square_root_missing(x, weight, eps):
    """The tokens were divided by their mean square itself. R of RMS stands for a step that is missing."""
    return scaled(x, weight, mean_square(x) + eps)


@rms_norm.mistake
def squares_summed(x, weight, eps):
    """The result is smaller by the square root of D: the squares were summed. M of RMS stands for something else."""
    return scaled(x, weight, (wide(x).pow(2).sum(-1, keepdim=True) + eps).sqrt())


@rms_norm.mistake
def mean_subtracted(x, weight, eps):
    """The mean was taken away first, as LayerNorm does. Does RMSNorm centre its input?"""
    return reference((wide(x) - wide(x).mean(-1, keepdim=True)).to(x.dtype), weight, eps)


@rms_norm.mistake
def eps_outside_the_root(x, weight, eps):
    """For small inputs the result is too large: eps is added outside the root. Where does it stand in the formula?"""
    return scaled(x, weight, mean_square(x).sqrt() + eps)


@rms_norm.mistake
def eps_not_used(x, weight, eps):
    """eps is never used: a token of zeros would give NaN. What is eps for?"""
    return scaled(x, weight, mean_square(x).sqrt())


@rms_norm.mistake
def weight_not_used(x, weight, eps):
    """Each channel comes out as if its weight were 1. Which factor is left?"""
    return reference(x, torch.ones_like(weight), eps)


@rms_norm.mistake
def multiplied_by_the_rms(x, weight, eps):
    """The tokens were multiplied by their root mean square: loud ones become louder. Should it be r or 1/r?"""
    return (wide(x) * (mean_square(x) + eps).sqrt()).to(x.dtype) * weight


@rms_norm.mistake
def mean_square_in_16_bits(x, weight, eps):
    """Right in 32 bits, but in 16 bits a sum of squares passes 65,504 and becomes infinite. In which precision
    should the mean be taken?"""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


@rms_norm.mistake
def not_cast_back(x, weight, eps):
    """The result is in 32 bits although the input was in 16. When is the time to go back to x's dtype?"""
    return wide(x) * torch.rsqrt(mean_square(x) + eps) * wide(weight)


@rms_norm.mistake
def weight_multiplied_in_64_bits(x, weight, eps):
    """x went to 64 bits and never came back. Which dtype should the result have?"""
    return x.double() * torch.rsqrt(x.double().pow(2).mean(-1, keepdim=True) + eps) * weight.double()


@rms_norm.mistake
def cast_down_to_32_bits(x, weight, eps):
    """x came in 64 bits: how many are left after your first line?"""
    return (x.float() * torch.rsqrt(mean_square(x.float()) + eps)).type_as(x) * weight


@rms_norm.mistake
def mean_of_absolute_values(x, weight, eps):
    """It divides by the mean of the absolute values. What stands under the root?"""
    return scaled(x, weight, wide(x).abs().mean(-1, keepdim=True) + eps)


@rms_norm.mistake
def scaled_to_length_one(x, weight, eps):
    """Each token came out with length 1, before its weight. Which length has a token whose mean square is 1?"""
    return normalize(wide(x), dim=-1).to(x.dtype) * weight


@rms_norm.mistake
def standardised_by_sample_variance(x, weight, eps):
    """The mean was taken away first, and the squares were divided by D − 1, as torch.var does. What does RMSNorm
    take the mean of?"""
    centred = wide(x) - wide(x).mean(-1, keepdim=True)
    return (centred * torch.rsqrt(wide(x).var(-1, keepdim=True) + eps)).to(x.dtype) * weight
