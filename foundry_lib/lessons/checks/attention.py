"""Exercises of lesson 03: causal attention, grouped queries, the bytes of a KV cache, and the lines of attention."""

import ast
import linecache
from dataclasses import dataclass, field

import torch

from .ladder import Exercise, Verdict, progress


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=dtype)


def visible(n_queries, n_keys, shift=0):
    """(n_queries, n_keys), True where a query may attend to a key. shift: how far the border moves to the right."""
    return torch.ones(n_queries, n_keys, dtype=torch.bool).tril(n_keys - n_queries + shift)


# ---- Attention


def attention_case(batch, heads, length, dim, scale=1.0, dtype=torch.float32):
    q, k, v = (scale * normal(batch, heads, length, dim, seed=seed, dtype=dtype) for seed in (1, 2, 3))
    return {"q": q, "k": k, "v": v / scale}


def one_query_at_a_time(q, k, v):
    """The reference: one query at a time attends to a list of keys that ends with its own key."""
    mixed, weights = torch.zeros_like(q), q.new_zeros(*q.shape[:3], k.shape[2])
    for position in range(q.shape[2]):
        scores = (k[:, :, : position + 1] * q[:, :, position : position + 1]).sum(-1) * q.shape[-1] ** -0.5
        exponentials = (scores - scores.amax(-1, keepdim=True)).exp()
        share = exponentials / exponentials.sum(-1, keepdim=True)
        weights[:, :, position, : position + 1] = share
        mixed[:, :, position] = (share[..., None] * v[:, :, : position + 1]).sum(2)
    return mixed, weights


def attend(
    q,
    k,
    v,
    scores=lambda q, k: q @ k.mT / q.shape[-1] ** 0.5,
    hide=lambda scores, may: scores.masked_fill(~may, -torch.inf),
    share=lambda scores, may: scores.softmax(-1),
    mix=lambda weights, q, k, v: weights @ v,
    shift=0,
):
    """Attention made of steps that can be replaced: each mistake below replaces one."""
    may = visible(q.shape[2], k.shape[2], shift)
    weights = share(hide(scores(q, k), may), may)
    return mix(weights, q, k, v), weights


def seen_alike(scores, may):
    return (may / may.sum(-1, keepdim=True)).to(scores.dtype).expand_as(scores).clone()


def rows_add_up(work, case):
    """A row of NaN passes here and in the next properties: the comparison with the reference finds it."""
    weights = work(**case)[1]
    return torch.allclose(weights.sum(-1).nan_to_num(1.0), torch.ones(1, dtype=weights.dtype), atol=1e-4)


def future_does_not_count(work, case):
    """A change of the last token changes no earlier output."""
    before = work(**case)[0]
    for name in ("k", "v"):
        case[name][:, :, -1] += 1.0
    return torch.allclose(before[:, :, :-1], work(**case)[0][:, :, :-1], atol=1e-5, equal_nan=True)


attention = Exercise(
    "attention",
    "my_attention(q, k, v) → mixed values (B, H, T, d), weights (B, H, T, T)",
    [
        attention_case(2, 3, 5, 4),
        attention_case(1, 2, 7, 6),
        attention_case(3, 4, 6, 2, scale=1.5),
        attention_case(2, 5, 3, 8, scale=40.0, dtype=torch.float64),  # scores above 709, whose exponential overflows
    ],
    one_query_at_a_time,
    {
        "A row of weights does not add up to 1. Each query has one unit of attention to share out: where did the rest "
        "go, or come from?": rows_add_up,
        "Changing the last token changed what earlier tokens receive. What may a token not see?": future_does_not_count,
    },
    shapes="B H T d, B H T d, B H T d -> B H T d, B H T T",
)


@attention.mistake
def scores_not_scaled(q, k, v):
    """The scores went into the softmax at full size, so the weights are too sharp. What does the formula do with d?"""
    return attend(q, k, v, scores=lambda q, k: q @ k.mT)


@attention.mistake
def scores_divided_by_d(q, k, v):
    """The weights are too even: the scores were divided by d itself. How does the size of a sum of d random products
    grow with d?"""
    return attend(q, k, v, scores=lambda q, k: q @ k.mT / q.shape[-1])


@attention.mistake
def scores_scaled_by_the_width_of_all_heads(q, k, v):
    """The scores were divided by the root of H · d, the width of all heads together. How many channels does one
    score add up?"""
    return attend(q, k, v, scores=lambda q, k: q @ k.mT / (q.shape[1] * q.shape[-1]) ** 0.5)


@attention.mistake
def scores_scaled_by_the_text_length(q, k, v):
    """The scores were divided by a number that depends on the length of the text. Which axis is d?"""
    return attend(q, k, v, scores=lambda q, k: q @ k.mT / q.shape[2] ** 0.5)


@attention.mistake
def scores_scaled_by_the_number_of_heads(q, k, v):
    """The scores were divided by √H, the root of the number of heads. How many channels does one score add up?"""
    return attend(q, k, v, scores=lambda q, k: q @ k.mT / q.shape[1] ** 0.5)


@attention.mistake
def scores_multiplied_by_root_d(q, k, v):
    """The scores were multiplied by √d and became larger. Which way should it go?"""
    return attend(q, k, v, scores=lambda q, k: q @ k.mT * q.shape[-1] ** 0.5)


@attention.mistake
def softmax_over_queries(q, k, v):
    """Down each column of the weights the sum is 1, and along the rows it is not. Who shares out attention, a query
    or a key?"""
    return attend(q, k, v, share=lambda scores, may: scores.softmax(-2))


@attention.mistake
def softmax_over_heads(q, k, v):
    """The heads compete with each other for each pair of tokens. Over which axis should a softmax add up to 1?"""
    return attend(q, k, v, share=lambda scores, may: scores.softmax(1).nan_to_num())


@attention.mistake
def masked_after_the_softmax(q, k, v):
    """Only the last row of the weights adds up to 1: it seems that something was taken away after the softmax. Which
    step makes a row add up to 1?"""
    return attend(q, k, v, hide=lambda scores, may: scores, share=lambda scores, may: scores.softmax(-1) * may)


@attention.mistake
def own_key_hidden(q, k, v):
    """The first row is NaN, because it may look nowhere. May a token look at itself?"""
    return attend(q, k, v, shift=-1)


@attention.mistake
def own_key_hidden_by_a_large_number(q, k, v):
    """The first query attends to all positions alike: all its keys were hidden, its own too. May a token attend to
    itself?"""
    return attend(q, k, v, hide=lambda scores, may: scores.masked_fill(~may, -1e9), shift=-1)


@attention.mistake
def mask_multiplied_by_infinity(q, k, v):
    """Everything is NaN: the mask holds 0 at the visible positions, and 0 · ∞ is NaN. Which number should be added to
    a visible score?"""
    return attend(q, k, v, hide=lambda scores, may: scores + ~may * -torch.inf)


@attention.mistake
def exponentials_of_large_scores(q, k, v):
    """Large scores give NaN: their exponentials are infinite. Which number can be subtracted from all scores of a row
    without a change of its softmax?"""

    def shares(scores, may):
        exponentials = scores.exp()
        return exponentials / exponentials.sum(-1, keepdim=True)

    return attend(q, k, v, share=shares)


@attention.mistake
def exponentials_of_large_scores_masked_after(q, k, v):
    """Large scores give NaN: their exponentials are infinite, and ∞ · 0 is NaN. What does a softmax subtract from the
    scores first?"""

    def shares(scores, may):
        exponentials = scores.exp() * may
        return exponentials / exponentials.sum(-1, keepdim=True)

    return attend(q, k, v, hide=lambda scores, may: scores, share=shares)


@attention.mistake
def one_future_key_visible(q, k, v):
    """Each token sees one token too many. Which word is the model asked to say at this place?"""
    return attend(q, k, v, shift=1)


@attention.mistake
def future_visible(q, k, v):
    """Every token sees the whole text, also what comes after it. Which step hides the future?"""
    return attend(q, k, v, hide=lambda scores, may: scores)


@attention.mistake
def past_hidden(q, k, v):
    """Each token sees itself and the future, and nothing of the past. Which half of the square should stay?"""
    return attend(q, k, v, hide=lambda scores, may: scores.masked_fill(~may.mT, -torch.inf))


@attention.mistake
def mask_inverted(q, k, v):
    """What should be hidden is seen and what should be seen is hidden, so the last row is NaN. Where is your mask
    True?"""
    return attend(q, k, v, hide=lambda scores, may: scores.masked_fill(may, -torch.inf))


@attention.mistake
def hidden_scores_set_to_zero(q, k, v):
    """The future still gets weight. Which share does the softmax give to a score of 0?"""
    return attend(q, k, v, hide=lambda scores, may: scores.masked_fill(~may, 0.0))


@attention.mistake
def hidden_scores_set_to_plus_infinity(q, k, v):
    """All rows with something hidden in them are NaN. What is the exponential of the number that you put there?"""
    return attend(q, k, v, hide=lambda scores, may: scores.masked_fill(~may, torch.inf))


@attention.mistake
def mask_added_as_numbers(q, k, v):
    """The mask was added as ones and zeros, and it hides nothing. How small must a score be for a weight of zero?"""
    return attend(q, k, v, hide=lambda scores, may: scores + may)


@attention.mistake
def keys_reshaped_instead_of_transposed(q, k, v):
    """The scores pair the right number of channels but the wrong ones: the keys were reshaped to (d, T). Does a view
    move any number to another row?"""
    return attend(q, k, v, scores=lambda q, k: q @ k.reshape(*k.shape[:2], k.shape[3], k.shape[2]) / q.shape[-1] ** 0.5)


@attention.mistake
def queries_and_keys_exchanged(q, k, v):
    """Row and column are exchanged: the score at [t, s] is that of query s with key t. Which of the two stands left
    of the @?"""
    return attend(q, k, v, scores=lambda q, k: k @ q.mT / q.shape[-1] ** 0.5)


@attention.mistake
def keys_mixed_instead_of_values(q, k, v):
    """The weights are right, and what they mix are the keys. Which tensor holds what a token has to say?"""
    return attend(q, k, v, mix=lambda weights, q, k, v: weights @ k)


@attention.mistake
def queries_mixed_instead_of_values(q, k, v):
    """The weights are right, and what they mix are the queries. Whose content should be handed on?"""
    return attend(q, k, v, mix=lambda weights, q, k, v: weights @ q)


@attention.mistake
def values_mixed_down_the_columns(q, k, v):
    """Each token gives to the places that it should take from: the values were mixed down the columns. Which axis of
    the weights meets which axis of v?"""
    return attend(q, k, v, mix=lambda weights, q, k, v: weights.mT @ v)


@attention.mistake
def scores_returned_as_weights(q, k, v):
    """The mixed values are right; the second result is the scores. At which step are they shares?"""
    scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~visible(q.shape[2], k.shape[2]), -torch.inf)
    return scores.softmax(-1) @ v, scores


@attention.mistake
def weights_returned_from_before_the_mask(q, k, v):
    """The mixed values are right; the weights that you return were made before the future was hidden. Which ones did
    you use?"""
    return attend(q, k, v)[0], (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)


@attention.mistake
def uniform_weights(q, k, v):
    """All visible tokens get the same weight, whatever the queries ask. Where do q and k come in?"""
    return attend(q, k, v, share=seen_alike)


@attention.mistake
def sigmoid_instead_of_softmax(q, k, v):
    """Each weight is between 0 and 1 by itself, but they do not compete. Which function makes shares of a row?"""
    return attend(q, k, v, share=lambda scores, may: scores.sigmoid())


@attention.mistake
def softmax_taken_twice(q, k, v):
    """The softmax was taken twice, which gives weight to hidden tokens again. What goes into the second one?"""
    return attend(q, k, v, share=lambda scores, may: scores.softmax(-1).softmax(-1))


@attention.mistake
def scaled_after_the_softmax(q, k, v):
    """The rows add up to 1/√d: the division came too late. Is the softmax of x/2 half of the softmax of x?"""
    mixed, weights = attend(q, k, v, scores=lambda q, k: q @ k.mT)
    return mixed / q.shape[-1] ** 0.5, weights / q.shape[-1] ** 0.5


@attention.mistake
def mixed_values_scaled(q, k, v):
    """The mixed values were divided by √d, and the scores were not. Which numbers should the division make smaller?"""
    mixed, weights = attend(q, k, v, scores=lambda q, k: q @ k.mT)
    return mixed / q.shape[-1] ** 0.5, weights


@attention.mistake
def mixed_values_scaled_too(q, k, v):
    """The weights are right, but the mixed values were divided by √d once more. What did the division make smaller
    already?"""
    mixed, weights = attend(q, k, v)
    return mixed / q.shape[-1] ** 0.5, weights


@attention.mistake
def heads_attend_to_each_other(q, k, v):
    """The heads look at each other and the tokens do not. Which two axes should be the last ones?"""
    mixed, weights = attend(*(t.transpose(1, 2) for t in (q, k, v)))
    return mixed.transpose(1, 2), weights


# ---- Grouped queries


def gqa_case(batch, heads, kv_heads, length, dim, read=0, scale=1.0, dtype=torch.float32):
    k, v = (normal(batch, kv_heads, read + length, dim, seed=seed, dtype=dtype) for seed in (5, 6))
    return {"q": scale * normal(batch, heads, length, dim, seed=4, dtype=dtype), "k": scale * k, "v": v}


def one_head_at_a_time(q, k, v):
    """The reference: head h of H reads kv head h · K // H, and each query is the last position that it sees."""
    heads, length, dim = q.shape[1:]
    kv_heads, read = k.shape[1], k.shape[2] - length
    mixed = torch.zeros_like(q)
    for head in range(heads):
        keys, values = k[:, head * kv_heads // heads], v[:, head * kv_heads // heads]
        for position in range(length):
            end = read + position + 1
            scores = torch.einsum("bd,bsd->bs", q[:, head, position], keys[:, :end]) / dim**0.5
            mixed[:, head, position] = torch.einsum("bs,bsd->bd", scores.softmax(-1), values[:, :end])
    return mixed


def group_of(q, k):
    return q.shape[1] // k.shape[1]


def share_out(x, q):
    """(B, K, S, d) → (B, H, S, d): each kv head is repeated for the query heads of its group."""
    return x.repeat_interleave(group_of(q, x), dim=1)


def grouped(q, k, v, keys=share_out, values=None, mask=visible, scale=lambda q, k: q.shape[-1] ** 0.5):
    """Grouped attention made of steps that can be replaced. values: None repeats the values as the keys."""
    all_k, all_v = keys(k, q), (values or keys)(v, q)
    scores = q @ all_k.mT / scale(q, k)
    may = mask(q.shape[2], all_k.shape[2])
    return scores.masked_fill(~may, -torch.inf).softmax(-1) @ all_v


def in_turn(x, q):
    return x.repeat(1, group_of(q, x), 1, 1)


def a_second_reading(work, case):
    """The last query gets the same output when it is the only query, as with a KV cache."""
    q, k, v = case.values()
    return torch.allclose(work(q, k, v)[:, :, -1:], work(q[:, :, -1:].clone(), k, v), atol=1e-5, equal_nan=True)


gqa = Exercise(
    "gqa",
    "my_gqa(q, k, v) → mixed values (B, H, T, d)",
    [
        gqa_case(2, 4, 2, 5, 6),
        gqa_case(1, 6, 3, 4, 2, read=3),
        gqa_case(2, 8, 2, 3, 4, read=5),
        gqa_case(3, 3, 3, 6, 4, scale=40.0, dtype=torch.float64),  # scores above 709, whose exponential overflows
        gqa_case(1, 4, 1, 7, 8),
        gqa_case(2, 6, 2, 1, 4, read=8),
    ],
    one_head_at_a_time,
    {
        "The last query, asked alone with all keys, gets another answer. Where does its row of the mask end?": (
            a_second_reading
        )
    },
    shapes="B H T d, B K S d, B K S d -> B H T d",
)


@gqa.mistake
def kv_heads_repeated_in_turn(q, k, v):
    """The kv heads are dealt out in turn, 0 1 0 1, and neighbours should share one: 0 0 1 1. Which function repeats
    each row before the next one?"""
    return grouped(q, k, v, in_turn)


@gqa.mistake
def kv_heads_in_reverse_order(q, k, v):
    """The kv heads are handed out from the last to the first. Which one does query head 0 belong to?"""
    return grouped(q, k, v, lambda x, q: share_out(x.flip(1), q))


@gqa.mistake
def first_kv_head_for_all(q, k, v):
    """All query heads use kv head 0. What are the other ones for?"""
    return grouped(q, k, v, lambda x, q: x[:, :1].expand_as(x[:, :1]))


@gqa.mistake
def kv_heads_averaged(q, k, v):
    """The kv heads were averaged into one. Does a head of a group see what other groups keep?"""
    return grouped(q, k, v, lambda x, q: x.mean(1, keepdim=True))


@gqa.mistake
def values_in_another_order(q, k, v):
    """The keys are shared as they should be, the values in another order. Do key and value of a token belong to one
    head?"""
    return grouped(q, k, v, share_out, in_turn)


@gqa.mistake
def keys_in_another_order(q, k, v):
    """The values are shared as they should be, the keys in another order. Do you treat k as you treat v?"""
    return grouped(q, k, v, in_turn, share_out)


@gqa.mistake
def mask_starts_at_key_zero(q, k, v):
    """With more keys than queries each query sees too little: your mask begins at key 0. At which position does the
    first query stand?"""
    return grouped(q, k, v, mask=lambda n, m: torch.ones(n, m, dtype=torch.bool).tril())


@gqa.mistake
def mask_moved_to_the_left(q, k, v):
    """The border of the mask moved to the left, by T − S: the first queries may attend nowhere, and are NaN. At which
    position does the first query stand?"""
    return grouped(q, k, v, mask=lambda n, m: torch.ones(n, m, dtype=torch.bool).tril(n - m))


@gqa.mistake
def mask_for_square_scores_only(q, k, v):
    """With more keys than queries everything is visible. Do several new tokens, read at once, see each other's
    future?"""
    return grouped(q, k, v, mask=lambda n, m: visible(n, m) if n == m else torch.ones(n, m, dtype=torch.bool))


@gqa.mistake
def no_mask(q, k, v):
    """Nothing hides the future here. Which keys come after a query?"""
    return grouped(q, k, v, mask=lambda n, m: torch.ones(n, m, dtype=torch.bool))


@gqa.mistake
def mask_one_key_too_far(q, k, v):
    """Each query sees one key beyond its own position. Count: query t of T is at S − T + t, and which key is the
    last it may see?"""
    return grouped(q, k, v, mask=lambda n, m: visible(n, m, 1))


@gqa.mistake
def mask_hides_the_own_key(q, k, v):
    """A query does not see its own key. Is a token allowed to attend to itself?"""
    return grouped(q, k, v, mask=lambda n, m: visible(n, m, -1))


@gqa.mistake
def scores_divided_by_the_width_of_all_heads(q, k, v):
    """The scores were divided by the root of H · d, the width of all query heads. How many channels does one score of
    one head add up?"""
    return grouped(q, k, v, scale=lambda q, k: (q.shape[1] * q.shape[-1]) ** 0.5)


@gqa.mistake
def gqa_exponentials_of_large_scores(q, k, v):
    """Large scores give NaN: their exponentials are infinite, and ∞ · 0 or ∞/∞ is NaN. What does softmax subtract
    first?"""
    k, v = share_out(k, q), share_out(v, q)
    may = visible(q.shape[2], k.shape[2])
    exponentials = (q @ k.mT / q.shape[-1] ** 0.5).exp() * may
    return exponentials / exponentials.sum(-1, keepdim=True) @ v


@gqa.mistake
def square_mask(q, k, v):
    """The mask is (T, T), and the scores are (T, S), with S keys. How many positions can a query attend to?"""
    return grouped(q, k, v, mask=lambda n, m: torch.ones(n, n, dtype=torch.bool).tril())


@gqa.mistake
def positions_repeated_instead_of_heads(q, k, v):
    """The keys and values were repeated along their positions, S, and they still have K heads. Along which axis do
    the heads lie?"""
    return grouped(q, k, v, lambda x, q: x.repeat_interleave(group_of(q, x), dim=2))


@gqa.mistake
def cached_keys_ignored(q, k, v):
    """Only the newest keys are used. What do tokens read before, those of the cache, still have to say?"""
    return grouped(q, k[:, :, -q.shape[2] :], v[:, :, -q.shape[2] :])


@gqa.mistake
def grouped_scores_not_scaled(q, k, v):
    """The scores of each head were left undivided. Does sharing keys change the size of a score?"""
    return grouped(q, k, v, scale=lambda q, k: 1.0)


@gqa.mistake
def scores_scaled_by_all_kv_channels(q, k, v):
    """The scores were divided by the root of K · d. Over how many channels does one head sum?"""
    return grouped(q, k, v, scale=lambda q, k: (k.shape[1] * k.shape[3]) ** 0.5)


@gqa.mistake
def scores_scaled_by_the_group_size(q, k, v):
    """The scores were divided by the root of the group's size times d. Do heads of a group add their scores?"""
    return grouped(q, k, v, scale=lambda q, k: (group_of(q, k) * q.shape[3]) ** 0.5)


@gqa.mistake
def query_heads_averaged(q, k, v):
    """The query heads of a group give the same result: their queries were averaged. What is shared in a group, and
    what is not?"""
    mean = q.unflatten(1, (k.shape[1], -1)).mean(2)
    return grouped(mean.repeat_interleave(group_of(q, k), dim=1), k, v)


@gqa.mistake
def heads_in_another_order(q, k, v):
    """Each head's result is right and stands in another head's place. In which order do K and the group stand when
    they are made one axis?"""
    mixed = grouped(q, k, v)
    return mixed.unflatten(1, (k.shape[1], -1)).transpose(1, 2).flatten(1, 2)


@gqa.mistake
def kv_heads_not_shared(q, k, v):
    """It works only where K is 1 or H: keys or values still have K heads where the queries have H. How can H heads
    read K?"""
    return grouped(q, k, v, lambda x, q: x)


# ---- Bytes of a cache

WIDTHS = {1: torch.int8, 2: torch.float16, 4: torch.float32, 8: torch.float64}


def counted(n_layers, n_kv_heads, head_dim, n_tokens, bytes_per_number):
    """The reference: the size of a tensor of that shape, on the meta device, where it takes no memory."""
    shape = (n_layers, n_kv_heads, n_tokens, head_dim)
    keys, values = (torch.empty(shape, dtype=WIDTHS[bytes_per_number], device="meta") for _ in range(2))
    return keys.nbytes + values.nbytes


NAMES = ("n_layers", "n_kv_heads", "head_dim", "n_tokens", "bytes_per_number")


def product(given, without=(), times=2):
    """A wrong count: it leaves out the named factors, and has `times` instead of the factor 2."""
    result = times
    for name, value in zip(NAMES, given, strict=True):
        result *= 1 if name in without else value
    return result


def cache_case(*values):
    return dict(zip(NAMES, values, strict=True))


cache_bytes = Exercise(
    "cache_bytes",
    "my_cache_bytes(n_layers, n_kv_heads, head_dim, n_tokens, bytes_per_number)",
    [
        cache_case(4, 3, 32, 10, 2),
        cache_case(2, 2, 24, 256, 4),
        cache_case(5, 1, 64, 7, 1),
        cache_case(32, 8, 128, 8192, 2),
    ],
    counted,
)


@cache_bytes.mistake
def keys_only(*given):
    """It is half of what the cache takes. What else does a token leave behind beside its key?"""
    return product(given, times=1)


@cache_bytes.mistake
def queries_counted_too(*given):
    """It is one and a half times too much. Will the query of an old token be asked for again?"""
    return product(given, times=3)


@cache_bytes.mistake
def factor_two_counted_twice(*given):
    """It is twice too much: which factor of 2 is in it a second time?"""
    return product(given, times=4)


@cache_bytes.mistake
def layers_not_counted(*given):
    """It does not grow with the layers. Can layer 2 use the keys of layer 1?"""
    return product(given, ["n_layers"])


@cache_bytes.mistake
def kv_heads_not_counted(*given):
    """It does not grow with the kv heads. What does each of them keep for itself?"""
    return product(given, ["n_kv_heads"])


@cache_bytes.mistake
def head_dim_not_counted(*given):
    """It does not grow with head_dim. How many numbers are in one key?"""
    return product(given, ["head_dim"])


@cache_bytes.mistake
def tokens_not_counted(*given):
    """It is the same for a long text and for a short one. What is kept for each token?"""
    return product(given, ["n_tokens"])


@cache_bytes.mistake
def numbers_instead_of_bytes(*given):
    """It counts numbers, and bytes were asked for. How many bytes does one number take?"""
    return product(given, ["bytes_per_number"])


@cache_bytes.mistake
def bits_instead_of_bytes(*given):
    """It is eight times too much. Bits or bytes?"""
    return product(given, times=16)


@cache_bytes.mistake
def always_two_bytes_per_number(*given):
    """It counts two bytes a number, always. What is bytes_per_number for?"""
    return product(given, ["bytes_per_number"], times=4)


@cache_bytes.mistake
def tokens_squared(*given):
    """It grows with the square of the text. Are the weights, T × T of them, kept as well?"""
    return product(given) * given[3]


@cache_bytes.mistake
def factors_added(*given):
    """The factors were added up. How many numbers are in a box of 2 × 3 × 4?"""
    return 2 + sum(given)


@cache_bytes.mistake
def kibibytes_instead_of_bytes(*given):
    """It is right but for a factor of 1,024. In which unit was it asked?"""
    return product(given) / 1024


@cache_bytes.mistake
def divided_by_the_kv_heads(*given):
    """It is divided by the number of kv heads where it should be multiplied. Does the cache shrink with more heads?"""
    return product(given, ["n_kv_heads"]) / given[1]


# ---- The lines of attention, to be put in order

LINES = {
    "a": "weights = scores.softmax(dim=-1)",
    "b": "return mixed, weights",
    "c": "scores = q @ k.transpose(-2, -1)",
    "d": "scores = scores.masked_fill(~may_look, -torch.inf)",
    "e": "mixed = weights @ v",
    "f": "may_look = torch.ones(T, T, dtype=torch.bool).tril()",
    "g": "scores = scores / q.shape[-1] ** 0.5",
    "h": "T = q.shape[-2]",
}


def letters_in(work) -> list:
    """The letters in a learner's list or text, without question marks, which mean no answer yet."""
    letters = work if isinstance(work, (str, list, tuple)) else [] if work in (None, ...) else [work]
    return [letter for letter in letters if letter not in (",", " ", "?", "")]


def assembled(letters):
    """The function whose body is the lines of these letters, in this order."""
    source = "def in_your_order(q, k, v):\n" + "\n".join(f"    {LINES[letter]}" for letter in letters)
    linecache.cache["<your order>"] = (len(source), None, source.splitlines(keepends=True), "<your order>")
    names = {"torch": torch}
    exec(compile(source, "<your order>", "exec"), names)  # the lines above, and no others
    return names["in_your_order"]


def too_early(letters) -> str | None:
    """A message for the first line that is after `return`, or uses a name that no earlier line makes; else None."""
    made = {"q", "k", "v", "torch"}
    for number, letter in enumerate(letters, 1):
        if "b" in letters[: number - 1]:
            return f"Line {number}, {letter}, stands below `return`. When does Python run what comes after a return?"
        names = [node for node in ast.walk(ast.parse(LINES[letter])) if isinstance(node, ast.Name)]
        unknown = [node.id for node in names if isinstance(node.ctx, ast.Load) and node.id not in made]
        if unknown:
            return (
                f"Line {number}, {letter}, uses {unknown[0]}, and no line above it makes {unknown[0]}: {LINES[letter]}"
            )
        made |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
    return None


@dataclass(frozen=True)
class Order(Exercise):
    """An exercise whose answer is a list of letters, ["c", "a", …], or the function that their lines make."""

    lines: dict[str, str] = field(default_factory=dict)

    def show(self):
        """Print the lines, out of order."""
        for letter, line in self.lines.items():
            print(f"{letter}:  {line}")

    def __call__(self, work):
        super().__call__(work)
        if not callable(work) and self.judge(work).passed:
            progress.keep_work(self.name, assembled(letters_in(work)))

    def judge(self, work) -> Verdict:
        if callable(work):
            return super().judge(work)
        letters = letters_in(work)
        if not letters:
            return Verdict("not yet", f"· {self.name}: not yet. Write {self.usage}, then run this cell again.")
        unknown = [letter for letter in letters if letter not in self.lines]
        left = [letter for letter in self.lines if letter not in letters]
        twice = [letter for letter in self.lines if letters.count(letter) > 1]
        if unknown:
            return self._wrong(f"There is no line {unknown[0]!r}; the lines are {', '.join(self.lines)}.")
        if left or twice:
            wrong_lines = {"missing": left, "more than once": twice}
            reasons = [f"{how}: {', '.join(lines)}" for how, lines in wrong_lines.items() if lines]
            return self._wrong(f"Each line is used once; {'; '.join(reasons)}.")
        early = too_early(letters)
        return self._wrong(early) if early else super().judge(assembled(letters))


attention_order = Order(
    "attention_order",
    "a list of the eight letters, such as ['a', 'b', …]",
    attention.cases,
    one_query_at_a_time,
    attention.properties,
    lines=LINES,
)


@attention_order.mistake
def future_hidden_too_late(q, k, v):
    """It runs, and the future is not hidden: line d changes the scores when nobody reads them any more. Who reads
    them last?"""
    return attend(q, k, v, hide=lambda scores, may: scores)


@attention_order.mistake
def scaled_too_late(q, k, v):
    """It runs, and the scores reach the softmax at full size. Which line comes too late to matter?"""
    return attend(q, k, v, scores=lambda q, k: q @ k.mT)


@attention_order.mistake
def scaled_and_hidden_too_late(q, k, v):
    """It runs, and two lines change the scores after they were last used. Which line uses them?"""
    return attend(q, k, v, scores=lambda q, k: q @ k.mT, hide=lambda scores, may: scores)
