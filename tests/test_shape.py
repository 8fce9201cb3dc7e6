"""Shapes in letters: what fits, what is refused, and in which words."""

import pytest
import torch
from torch import nn

from foundry_lib import Block, MiniLLM, ModelConfig, ShapeError
from foundry_lib.lessons import checks
from foundry_lib.shape import Shape, checked, checked_shapes, in_brackets, is_annotated, shapes

X = torch.zeros(2, 5, 48)


def test_it_returns_the_sizes():
    assert shapes(X, "B T D") == shapes(X, "... D") == shapes(X, "2 T D", T=5) == (2, 5, 48)
    assert shapes(torch.zeros(2, 5, 4), "2 T d/2", d=8) == (2, 5, 4)


@pytest.mark.parametrize(
    "letters, sizes, words",
    [
        ("B T", {}, "expected (B, T), found (2, 5, 48): one axis too many"),
        ("B H T d", {}, "expected (B, H, T, d), found (2, 5, 48): one axis missing"),
        ("B T D", dict(D=47), "expected (B, T, D) = (B, T, 47), found (2, 5, 48): D differs"),
        ("B T D", dict(B=2, T=48, D=5), "expected (B, T, D) = (2, 48, 5), found (2, 5, 48): are two axes exchanged?"),
        ("B D T", dict(D=48), "expected (B, D, T) = (B, 48, T), found (2, 5, 48): are two axes exchanged?"),
        ("... D", dict(D=5), "expected (..., D) = (2, 5, 5), found (2, 5, 48): D differs"),
        ("2 T d/2", dict(d=8), "expected (2, T, d/2) = (2, T, 4), found (2, 5, 48): d/2 differs"),
        ("B T D", dict(B=3, T=6), "expected (B, T, D) = (3, 6, D), found (2, 5, 48)"),
    ],
)
def test_it_says_in_letters_what_is_wrong(letters, sizes, words):
    with pytest.raises(ShapeError) as refused:
        shapes(X, letters, **sizes)
    assert str(refused.value) == words


def test_what_is_no_tensor():
    with pytest.raises(ShapeError, match=r"expected a tensor of shape \(B, T\), found a value of type list"):
        shapes([[1, 2]], "B T")


def scaled(x: Shape("... D"), weight: Shape("D"), wrong=None) -> Shape("... D"):
    if wrong == "no keepdim":
        return x.mean(-1)
    return (x * weight).transpose(0, 1) if wrong == "exchanged" else x * weight


def test_a_checked_function_compares_arguments_and_result():
    weight = torch.ones(48)
    assert is_annotated(scaled) and checked(scaled)(X, weight).equal(scaled(X, weight))
    with pytest.raises(ShapeError, match=r"^weight of scaled: expected \(D,\) = \(48,\), found \(4,\): D differs$"):
        checked(scaled)(X, torch.ones(4))
    with pytest.raises(ShapeError, match=r"^the result of scaled: .*, found \(2, 5\): one axis missing$"):
        checked(scaled)(X, weight, wrong="no keepdim")
    with pytest.raises(ShapeError, match=r"found \(5, 2, 48\): are two axes exchanged\?$"):
        checked(scaled)(X, weight, wrong="exchanged")


def test_each_call_has_its_own_letters():
    function = checked(scaled)
    function(X, torch.ones(48))
    function(X[..., :7], torch.ones(7))
    with pytest.raises(ShapeError):
        checked(scaled, D=48)(X[..., :7], torch.ones(7))


@pytest.mark.parametrize("channels, fits", [(48, True), (40, False)])
def test_several_results(channels, fits):
    def split(x: Shape("B T D")) -> (Shape("B T"), Shape("B D")):
        return x[..., 0], x[:, 0, :channels]

    if fits:
        assert len(checked(split)(X)) == 2
        return
    with pytest.raises(ShapeError, match=r"result of split, number 2: expected \(B, D\) = \(2, 48\), found \(2, 40\)"):
        checked(split)(X)


CONFIG = ModelConfig.preset("tiny", vocab_size=50, max_seq_len=16)


def test_the_whole_model_fits_its_letters():
    model = MiniLLM(CONFIG)
    idx = torch.randint(50, (2, 7))
    plain = model(idx)[0]
    with checked_shapes(model):
        assert model(idx)[0].equal(plain)
    annotated = {type(module).__name__ for module in model.modules() if is_annotated(type(module).forward)}
    assert annotated == {"MiniLLM", "Block", "RMSNorm", "CausalSelfAttention", "MLP"}
    assert not any("forward" in vars(module) for module in model.modules())


def test_an_own_part_with_a_wrong_shape_is_named():
    class Narrow(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.dim = config.dim

        def forward(self, x: Shape("B T D")) -> Shape("B T D"):
            return x[..., :1]  # broadcasting hides it

    model = MiniLLM(CONFIG, feed_forward=Narrow)
    model(torch.zeros(2, 7, dtype=torch.long))
    with pytest.raises(ShapeError, match=r"result of layers.0.feed_forward: .* found \(2, 7, 1\): D differs"):
        with checked_shapes(model):
            model(torch.zeros(2, 7, dtype=torch.long))
    assert not any("forward" in vars(module) for module in model.modules())


def test_it_costs_nothing_where_it_is_not_asked_for():
    assert "forward" not in vars(Block(CONFIG)) and not hasattr(Block.forward, "__wrapped__")


# ---- The checks of the exercises say a wrong shape in letters


def exchanged(value, axes=(-2, -1)):
    return value.transpose(*axes) if value.dim() > 1 else value[:-1]


@pytest.mark.parametrize("exercise", [e for e in checks.EXERCISES.values() if e.shapes], ids=lambda e: e.name)
def test_a_wrong_shape_is_said_in_letters(exercise):
    def slip(*arguments):
        result = exercise.reference(*arguments)
        return exchanged(result) if isinstance(result, torch.Tensor) else tuple(exchanged(value) for value in result)

    letters = [in_brackets(Shape(part).axes) for part in exercise.shapes.split("->")[1].split(",")]
    message = exercise.judge(slip).message
    assert any(f"expected {each}" in message for each in letters), message


def test_two_axes_exchanged_in_an_exercise():
    message = checks.rms_norm.judge(lambda x, weight, eps: checks.rms_norm.reference(x, weight, eps).mT).message
    assert "Shape of the result: expected (..., D) = (2, 3, 8), found (2, 8, 3): are two axes exchanged?" in message
