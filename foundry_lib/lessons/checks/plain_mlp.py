"""The exercise of lesson 04 that takes the gate away: a plain MLP with as many parameters as a SwiGLU.

A part is built from a small config and called once; its weights get values by their names. It is judged by its number
of parameters first, then by its output.
"""

import math
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

from .ladder import Exercise
from .model import fill


class PlainConfig(SimpleNamespace):
    """The two fields that a plain MLP needs."""

    def __getattr__(self, name):
        raise AttributeError(f"this check's config has no {name}: a plain MLP needs dim and hidden_dim")


def build_plain(work, case):
    return work(PlainConfig(dim=case["x"].shape[-1], hidden_dim=case["hidden_dim"]))


def run_plain(work, case):
    """Build the part, fill its weights, and call it. Returns its number of parameters and its output."""
    part = build_plain(work, case)
    if not isinstance(part, nn.Module) or "_parameters" not in vars(part):
        return part.forward(case["x"]) if isinstance(part, nn.Module) else part
    result = fill(part).forward(case["x"])
    return result if result is None else (sum(p.numel() for p in part.parameters()), result)


def plain_case(*shape, hidden_dim):
    generator = torch.Generator().manual_seed(100 * shape[-1] + hidden_dim)
    return {"x": torch.randn(*shape, generator=generator), "hidden_dim": hidden_dim}


class PlainReference(nn.Module):
    """The reference, one hidden channel at a time. A wrong part overrides `width`, `curve` or `forward`."""

    bias = False

    def __init__(self, config):
        super().__init__()
        width = self.width(config)
        self.w_up = nn.Linear(config.dim, width, bias=self.bias)
        self.w_down = nn.Linear(width, config.dim, bias=self.bias)

    def width(self, config):
        return 3 * config.hidden_dim // 2

    def curve(self, up):
        return torch.where(up > 0, up, 0.0) * up

    def forward(self, x):
        return self.w_down(self.curve(self.w_up(x)))


def has_the_two_names(work, case):
    """Whether the weights are those of w_up and w_down, and no others."""
    return set(build_plain(work, case).state_dict()) == {"w_up.weight", "w_down.weight"}


plain_mlp = Exercise(
    "plain_mlp",
    "class MyPlainMLP: __init__(self, config), forward(self, x)",
    [
        plain_case(2, 3, 4, hidden_dim=6),
        plain_case(5, 8, hidden_dim=10),
        plain_case(7, 6, hidden_dim=24),
        plain_case(2, 2, 3, 5, hidden_dim=4),
    ],
    PlainReference,
    {
        "Its weights should be w_up.weight and w_down.weight, and no others: two nn.Linear with bias=False. "
        "Your part's state_dict() has other names.": has_the_two_names
    },
    run_plain,
    "class",
    value_name=lambda number, case: ["the number of parameters", "the output"][number - 1],
)


def wrong_at(method):
    """Decorate a function that stands for one method of PlainReference: it becomes a wrong part."""
    return lambda function: type(function.__name__, (PlainReference,), {method: function, "__doc__": function.__doc__})


@plain_mlp.mistake
@wrong_at("width")
def as_wide_as_the_swiglu(self, config):
    """It is as wide as the SwiGLU, so with one matrix fewer it has a third fewer parameters. How wide may it be?"""
    return config.hidden_dim


@plain_mlp.mistake
@wrong_at("width")
def twice_as_wide(self, config):
    """It is twice as wide as the SwiGLU: that would be fair for four matrices. How many has a SwiGLU?"""
    return 2 * config.hidden_dim


@plain_mlp.mistake
@wrong_at("width")
def three_times_as_wide(self, config):
    """It is three times as wide as the SwiGLU: its two matrices have twice the parameters. What do the three share?"""
    return 3 * config.hidden_dim


@plain_mlp.mistake
@wrong_at("width")
def narrower_by_two_thirds(self, config):
    """It is narrower than the SwiGLU. With fewer matrices, should each be smaller or larger?"""
    return 2 * config.hidden_dim // 3


@plain_mlp.mistake
@wrong_at("width")
def four_times_dim(self, config):
    """The width is 4 · dim, whatever hidden_dim is. With which width does it compete here?"""
    return 4 * config.dim


@plain_mlp.mistake
@wrong_at("width")
def eight_thirds_of_dim(self, config):
    """The width is 8/3 of dim, whatever hidden_dim is. Which field says how wide the SwiGLU is?"""
    return math.ceil(8 * config.dim / 3 / 32) * 32


@plain_mlp.mistake
@wrong_at("width")
def rounded_up_to_32(self, config):
    """The width went up to a multiple of 32. Is the number of parameters still exactly the same?"""
    return math.ceil(3 * config.hidden_dim / 2 / 32) * 32


@plain_mlp.mistake
class BiasKept(PlainReference):
    """Each matrix has a bias, which nn.Linear makes unless told otherwise. How many parameters are these?"""

    bias = True


@plain_mlp.mistake
@wrong_at("curve")
def relu_not_squared(self, up):
    """Positive numbers pass as they are: that is ReLU. What does the little 2 of ReLU² ask for?"""
    return up.clamp(min=0)


@plain_mlp.mistake
@wrong_at("curve")
def squared_without_relu(self, up):
    """Negative numbers are squared too and count like positive ones. What comes first, the square or max(0, ·)?"""
    return up**2


@plain_mlp.mistake
@wrong_at("curve")
def sign_kept_by_the_square(self, up):
    """Negative numbers pass as minus their square. What does max(0, ·) leave of a negative number?"""
    return up * up.abs()


@plain_mlp.mistake
@wrong_at("curve")
def gelu_not_relu_squared(self, up):
    """The curve is GELU, the other part of the comparison. Which one does the task ask for?"""
    return F.gelu(up)


@plain_mlp.mistake
@wrong_at("curve")
def silu_not_relu_squared(self, up):
    """The curve is SiLU. Which one does the task ask for?"""
    return F.silu(up)


@plain_mlp.mistake
@wrong_at("curve")
def relu_doubled(self, up):
    """Positive numbers come out doubled. Does the 2 of ReLU² multiply, or is it a power?"""
    return 2 * up.clamp(min=0)


@plain_mlp.mistake
@wrong_at("curve")
def relu_cubed(self, up):
    """Positive numbers come out to the power 3: they were squared and multiplied once more. How often does x occur in
    max(0, x)²?"""
    return up.clamp(min=0) ** 3


@plain_mlp.mistake
@wrong_at("curve")
def no_curve(self, up):
    """Twice the input gives exactly twice the output: the two matrices equal one. What is between them?"""
    return up


@plain_mlp.mistake
@wrong_at("forward")
def curve_at_the_end(self, x):
    """The curve comes last, after w_down, and the two matrices before it equal one. Where is it in the formula?"""
    return self.curve(self.w_down(self.w_up(x)))


@plain_mlp.mistake
@wrong_at("forward")
def curve_on_both_sides(self, x):
    """The curve comes twice, the second time after w_down, so that no output is negative. How often is it in the
    formula?"""
    return self.curve(self.w_down(self.curve(self.w_up(x))))


@plain_mlp.mistake
@wrong_at("forward")
def curve_before_the_matrices(self, x):
    """x went through the curve before w_up. Which numbers are bent in the formula?"""
    return self.w_down(self.w_up(self.curve(x)))


@plain_mlp.mistake
@wrong_at("forward")
def input_added(self, x):
    """x itself is in the result. Who adds it, this part or the block around it?"""
    return x + PlainReference.forward(self, x)


@plain_mlp.mistake
class GateKept(nn.Module):
    """There are three matrices: this is the SwiGLU itself. Which one goes?"""

    def __init__(self, config):
        super().__init__()
        self.w_gate = nn.Linear(config.dim, config.hidden_dim, bias=False)
        self.w_up = nn.Linear(config.dim, config.hidden_dim, bias=False)
        self.w_down = nn.Linear(config.hidden_dim, config.dim, bias=False)

    def forward(self, x):
        return self.w_down(F.silu(self.w_gate(x)) * self.w_up(x))
