"""Exercises on the feed-forward part: SiLU, SwiGLU, and how selective a gate is."""

import math
from functools import wraps

import torch

from .ladder import Exercise


def randn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def sigmoid(x):
    """The sigmoid, computed from tanh, which cannot overflow."""
    return 0.5 * (1 + torch.tanh(0.5 * x))


# ---- SiLU

SILU_CASES = [
    {"x": torch.tensor([-4.0, -1.0, 0.0, 1.0, 4.0])},
    {"x": 3 * randn(2, 3, 4, seed=1)},
    {"x": torch.tensor([[-1000.0, -90.0, -20.0], [20.0, 90.0, 1000.0]])},
    {"x": 2 * randn(7, 2, seed=2, dtype=torch.float64)},
]


def silu_reference(x):
    return x * sigmoid(x)


silu = Exercise("silu", "my_silu(x) → x's shape", SILU_CASES, silu_reference, shapes="... -> ...")


@silu.mistake
def gate_without_the_input(x):
    """Everything lies between 0 and 1: that is how far the gate is open. What goes through it?"""
    return sigmoid(x)


@silu.mistake
def sign_of_the_exponent_reversed(x):
    """It is the mirror image: −4 comes through and +4 is held back. Which sign has x in the exponent?"""
    return x * sigmoid(-x)


@silu.mistake
def relu_instead_of_silu(x):
    """Every negative number became exactly 0. What does the formula give at −1?"""
    return x.clamp(min=0)


@silu.mistake
def gelu_instead_of_silu(x):
    """Near, but this is GELU, whose gate is the normal distribution. Which curve does SiLU multiply x by?"""
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


@silu.mistake
def sigmoid_of_a_multiple(x):
    """Near, but the sigmoid is that of 1.702 · x, which imitates GELU. What goes into the sigmoid of SiLU?"""
    return x * sigmoid(1.702 * x)


@silu.mistake
def gelu_by_tanh(x):
    """Near, but this is GELU in its form with tanh. Which curve does SiLU multiply x by?"""
    return torch.nn.functional.gelu(x, approximate="tanh")


@silu.mistake
def exponential_overflows(x):
    """Small numbers are right and 1000 gives NaN: infinity was divided by infinity. How large is exp(1000)?"""
    return x * torch.exp(x) / (1 + torch.exp(x))


@silu.mistake
def minus_in_the_denominator(x):
    """Around 0 it blows up: below the line stands a difference. Which sign stands behind the 1?"""
    return x / (1 - torch.exp(-x))


@silu.mistake
def softplus_instead_of_silu(x):
    """It never goes below zero and is 0.69 at 0: that is softplus, the logarithm. Where is x itself?"""
    return torch.nn.functional.softplus(x)


@silu.mistake
def tanh_instead_of_sigmoid(x):
    """The gate runs from −1 to 1, as tanh does. Between which two numbers should a gate move?"""
    return x * torch.tanh(x)


# ---- SwiGLU


def case(*shape, width, seed, dtype=torch.float32):
    """x (…, D), w_gate and w_up (F, D), w_down (D, F)."""
    dim = shape[-1]
    x, *weights = (
        randn(*size, seed=10 * seed + i, dtype=dtype)
        for i, size in enumerate([shape, (width, dim), (width, dim), (dim, width)])
    )
    return {"x": x, "w_gate": weights[0], "w_up": weights[1], "w_down": weights[2]}


SWIGLU_CASES = [
    case(2, 3, 4, width=6, seed=1),
    case(5, 8, width=3, seed=2),
    case(7, 5, width=5, seed=3),  # square matrices, where a missing transposition raises nothing
    case(2, 2, 3, 6, width=16, seed=4),
    case(3, 1, 4, width=7, seed=5, dtype=torch.float64),
]


def swiglu_reference(x, w_gate, w_up, w_down):
    """The reference, one hidden channel at a time: its gate, its up projection, and the output that it adds."""
    out = torch.zeros_like(x)
    for to_gate, to_up, writes in zip(w_gate, w_up, w_down.T, strict=True):
        gate, up = (x * to_gate).sum(-1, keepdim=True), (x * to_up).sum(-1, keepdim=True)
        out = out + silu_reference(gate) * up * writes
    return out


def with_hidden(hidden):
    """A wrong swiglu whose hidden channels are `hidden(gate, up)`; the three matrices are right."""
    return wraps(hidden)(lambda x, w_gate, w_up, w_down: hidden(x @ w_gate.T, x @ w_up.T) @ w_down.T)


def each_token_alone(work, case):
    """The first token's result stays the same when the last token changes."""
    x, *weights = case.values()
    rows = x.flatten(0, -2)
    other = rows.clone()
    other[-1] += 1
    return torch.allclose(work(rows, *weights)[0], work(other, *weights)[0], rtol=1e-4, atol=1e-4)


swiglu = Exercise(
    "swiglu",
    "my_swiglu(x, w_gate, w_up, w_down) → x's shape",
    SWIGLU_CASES,
    swiglu_reference,
    {"Another last token changed what the first one got; each token should be worked on alone.": each_token_alone},
    shapes="... D, F D, F D, D F -> ... D",
)


@swiglu.mistake
@with_hidden
def sigmoid_gate(gate, up):
    """The gate only says how far it is open, 0 to 1: a sigmoid. What does SiLU do more than a sigmoid?"""
    return sigmoid(gate) * up


@swiglu.mistake
@with_hidden
def gate_and_up_added(gate, up):
    """Gate and up projection were added. When a gate is closed, what should come out of its channel?"""
    return silu_reference(gate) + up


@swiglu.mistake
@with_hidden
def silu_on_both_projections(gate, up):
    """Both projections went through SiLU. How many of the two are gates?"""
    return silu_reference(gate) * silu_reference(up)


@swiglu.mistake
@with_hidden
def silu_on_the_up_projection(gate, up):
    """SiLU is on the wrong one of the two: gate and up projection are exchanged. Which one opens and closes?"""
    return gate * silu_reference(up)


@swiglu.mistake
@with_hidden
def silu_after_the_product(gate, up):
    """The product of gate and up projection went through SiLU. Which of them needs it, and when?"""
    return silu_reference(gate * up)


@swiglu.mistake
def silu_after_w_down(x, w_gate, w_up, w_down):
    """SiLU came last, after w_down. What is left to multiply when the gate is closed that late?"""
    return silu_reference((x @ w_gate.T * (x @ w_up.T)) @ w_down.T)


@swiglu.mistake
@with_hidden
def relu_gate(gate, up):
    """A gate below zero passes exactly nothing: that is ReLU. How much does SiLU let through at −1?"""
    return gate.clamp(min=0) * up


@swiglu.mistake
@with_hidden
def gelu_gate(gate, up):
    """Off by a few hundredths: the gate is a GELU. Which curve is the Swi of SwiGLU?"""
    return 0.5 * gate * (1 + torch.erf(gate / math.sqrt(2))) * up


@swiglu.mistake
@with_hidden
def tanh_gate(gate, up):
    """The gate lies between −1 and 1: a tanh. Which curve is the Swi of SwiGLU?"""
    return torch.tanh(gate) * up


@swiglu.mistake
@with_hidden
def w_gate_not_used(gate, up):
    """w_gate changes nothing: the up projection is its own gate. Where does the third matrix come in?"""
    return silu_reference(up)


@swiglu.mistake
@with_hidden
def w_up_not_used(gate, up):
    """w_up changes nothing: the gate opens, but on what?"""
    return silu_reference(gate)


@swiglu.mistake
@with_hidden
def gate_times_itself(gate, up):
    """w_up changes nothing: the gate meets its own projection twice. Which matrix makes what the gate multiplies?"""
    return silu_reference(gate) * gate


@swiglu.mistake
def matrices_reshaped(x, w_gate, w_up, w_down):
    """The matrices have the right shapes but not the right numbers: they were reshaped. Does `reshape` or `view`
    exchange rows and columns?"""
    gate, up, down = (w.reshape(w.shape[::-1]) for w in (w_gate, w_up, w_down))
    return (silu_reference(x @ gate) * (x @ up)) @ down


@swiglu.mistake
@with_hidden
def no_silu(gate, up):
    """Twice the input gives exactly four times the output: nothing in it bends. What happens to the gate before the
    product?"""
    return gate * up


@swiglu.mistake
@with_hidden
def softmax_gate(gate, up):
    """The gates of one token sum to 1: a softmax, so that opening one shuts the others. Do neurons compete here?"""
    return torch.softmax(gate, -1) * up


@swiglu.mistake
def residual_added(x, w_gate, w_up, w_down):
    """x itself is in the result. Who adds the result to the stream, this part or the layer around it?"""
    return x + swiglu_reference(x, w_gate, w_up, w_down)


@swiglu.mistake
def w_gate_and_w_up_not_transposed(x, w_gate, w_up, w_down):
    """It only runs where D equals F, and is wrong there: nn.Linear keeps its weight as (out, in). Which axis of
    w_gate and of w_up should meet the channels of x?"""
    return (silu_reference(x @ w_gate) * (x @ w_up)) @ w_down.T


@swiglu.mistake
def w_down_not_transposed(x, w_gate, w_up, w_down):
    """The way in is right and the way back out is not: look at the shape of w_down. Which axis is F?"""
    return (silu_reference(x @ w_gate.T) * (x @ w_up.T)) @ w_down


@swiglu.mistake
def no_matrix_transposed(x, w_gate, w_up, w_down):
    """Each of the three matrices lies on its side: x @ w pairs x with the rows of w. What do its rows stand for?"""
    return (silu_reference(x @ w_gate) * (x @ w_up)) @ w_down


@swiglu.mistake
def w_down_first(x, w_gate, w_up, w_down):
    """w_down came first, and the gate last. Is the hidden width the first, the middle or the last of the three?"""
    hidden = x @ w_down
    return silu_reference(hidden @ w_gate) * (hidden @ w_up)


@swiglu.mistake
def silu_before_the_matrices(x, w_gate, w_up, w_down):
    """x went through SiLU before the matrices. Which numbers are the gate's?"""
    return ((silu_reference(x) @ w_gate.T) * (x @ w_up.T)) @ w_down.T


# ---- How selective a gate is


def selectivity_case(n, seed, lift):
    """About a third of n words are chosen; their gate is larger by `lift` on average."""
    chosen = randn(n, seed=seed) > 0.4
    return {"gate": 0.7 + randn(n, seed=seed + 1) + lift * chosen, "chosen": chosen}


def with_draws(n, seed, lift):
    """Gates in steps of 0.5, so that the two words of some pairs have the same gate."""
    case = selectivity_case(n, seed, lift)
    return case | {"gate": (2 * case["gate"]).round() / 2}


SELECTIVITY_CASES = [selectivity_case(*given) for given in ((12, 3, 1.0), (40, 7, 0.0), (33, 11, -1.5), (9, 21, 4.0))]
SELECTIVITY_CASES.append(with_draws(20, 31, 0.5))


def selectivity_reference(gate, chosen):
    """The reference: count every pair of a chosen word and another word."""
    inside = [a for a, yes in zip(gate.tolist(), chosen.tolist(), strict=True) if yes]
    outside = [a for a, yes in zip(gate.tolist(), chosen.tolist(), strict=True) if not yes]
    return sum(a > b for a in inside for b in outside) / (len(inside) * len(outside))


def higher(a, b):
    """Share of the pairs of `a` and `b` in which `a` is higher."""
    return (a[:, None] > b).double().mean().item()


selectivity = Exercise(
    "selectivity",
    "my_selectivity(gate, chosen) → a share from 0 to 1",
    SELECTIVITY_CASES,
    selectivity_reference,
)


@selectivity.mistake
def pairs_won_by_the_other_word(gate, chosen):
    """It counts the pairs that the other word wins. Whose gate should be wider open?"""
    return higher(gate[~chosen], gate[chosen])


@selectivity.mistake
def compared_with_all_words(gate, chosen):
    """The chosen words were compared with all words, themselves among them. Who is the second of a pair?"""
    return higher(gate[chosen], gate)


@selectivity.mistake
def compared_with_the_mean_of_the_others(gate, chosen):
    """Pairs are missing: each chosen word met only the mean of the others. How many pairs are there?"""
    return (gate[chosen] > gate[~chosen].mean()).double().mean().item()


@selectivity.mistake
def compared_with_the_largest_of_the_others(gate, chosen):
    """Pairs are missing: each chosen word met only the largest of the others. How many pairs are there?"""
    return (gate[chosen] > gate[~chosen].max()).double().mean().item()


@selectivity.mistake
def difference_of_means(gate, chosen):
    """This is a distance between two means, and no share. What is counted, and divided by what?"""
    return (gate[chosen].mean() - gate[~chosen].mean()).item()


@selectivity.mistake
def means_compared(gate, chosen):
    """It says only which mean is larger, 0 or 1. How many pairs does the question ask about?"""
    return float(gate[chosen].mean() > gate[~chosen].mean())


@selectivity.mistake
def share_above_zero(gate, chosen):
    """It is the share of chosen words whose gate is above zero. The other words play no part in that, do they?"""
    return (gate[chosen] > 0).double().mean().item()


@selectivity.mistake
def pairs_not_divided(gate, chosen):
    """The pairs were counted and not divided by their number. What is the largest that a share can be?"""
    return (gate[chosen][:, None] > gate[~chosen]).sum().item()


@selectivity.mistake
def divided_by_the_square_of_the_words(gate, chosen):
    """The count was divided by the square of the number of words. How many of those pairs are one chosen, one other?"""
    return (gate[chosen][:, None] > gate[~chosen]).sum().item() / len(gate) ** 2


@selectivity.mistake
def ties_counted_as_won(gate, chosen):
    """Pairs whose two gates are equal were counted too. Which of the two is the larger there?"""
    return (gate[chosen][:, None] >= gate[~chosen]).double().mean().item()


@selectivity.mistake
def ties_counted_as_half_won(gate, chosen):
    """Pairs whose two gates are equal were counted as half won. Is a draw a larger gate?"""
    return (higher(gate[chosen], gate[~chosen]) + 1 - higher(gate[~chosen], gate[chosen])) / 2


@selectivity.mistake
def pairs_in_per_cent(gate, chosen):
    """It counts per cent. Between which two numbers lies a share?"""
    return 100 * higher(gate[chosen], gate[~chosen])


@selectivity.mistake
def paired_in_order(gate, chosen):
    """Each chosen word met only one other word, the one of the same rank in the list. How many pairs are there of
    n chosen words and m others?"""
    pairs = list(zip(gate[chosen].tolist(), gate[~chosen].tolist(), strict=False))
    return sum(a > b for a, b in pairs) / len(pairs)
