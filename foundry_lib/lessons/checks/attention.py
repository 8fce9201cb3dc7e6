"""Exercises of lesson 03: causal attention, grouped queries, the bytes of a KV cache, and the lines of attention."""

import ast
import linecache
from dataclasses import dataclass, field

import torch

from .ladder import Exercise, Verdict, progress


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=dtype)


def visible(n_queries, n_keys, shift=0):
    """True where a query may look; shift moves the border to the right."""
    return torch.ones(n_queries, n_keys, dtype=torch.bool).tril(n_keys - n_queries + shift)


# ---- Attention


def attention_case(batch, heads, length, dim, scale=1.0, dtype=torch.float32):
    q, k, v = (scale * normal(batch, heads, length, dim, seed=seed, dtype=dtype) for seed in (1, 2, 3))
    return {"q": q, "k": k, "v": v / scale}


def one_query_at_a_time(q, k, v):
    """The reference: each query looks at a list of keys that ends with its own."""
    mixed, weights = torch.zeros_like(q), q.new_zeros(*q.shape[:3], k.shape[2])
    for place in range(q.shape[2]):
        scores = (k[:, :, : place + 1] * q[:, :, place : place + 1]).sum(-1) * q.shape[-1] ** -0.5
        share = scores.exp() / scores.exp().sum(-1, keepdim=True)
        weights[:, :, place, : place + 1] = share
        mixed[:, :, place] = (share[..., None] * v[:, :, : place + 1]).sum(2)
    return mixed, weights


def attend(
    scores=lambda q, k: q @ k.mT / q.shape[-1] ** 0.5,
    hide=lambda scores, may: scores.masked_fill(~may, -torch.inf),
    share=lambda scores, may: scores.softmax(-1),
    mix=lambda weights, q, k, v: weights @ v,
    shift=0,
):
    """An attention put together from steps, so that each mistake below is one wrong step."""

    def work(q, k, v):
        may = visible(q.shape[2], k.shape[2], shift)
        weights = share(hide(scores(q, k), may), may)
        return mix(weights, q, k, v), weights

    return work


def seen_alike(scores, may):
    return (may / may.sum(-1, keepdim=True)).to(scores.dtype).expand_as(scores).clone()


def other_weights(q, k, v):
    return attend()(q, k, v)[0], (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)


def scores_returned(q, k, v):
    scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~visible(q.shape[2], k.shape[2]), -torch.inf)
    return scores.softmax(-1) @ v, scores


def scaled_late(q, k, v):
    mixed, weights = attend(scores=lambda q, k: q @ k.mT)(q, k, v)
    return mixed / q.shape[-1] ** 0.5, weights / q.shape[-1] ** 0.5


def heads_as_time(q, k, v):
    mixed, weights = attend()(*(t.transpose(1, 2) for t in (q, k, v)))
    return mixed.transpose(1, 2), weights


ATTENTION_MISTAKES = {
    "The scores went into the softmax at full size, so the weights are too sharp. What does the formula do with d?": (
        attend(scores=lambda q, k: q @ k.mT)
    ),
    "The weights are too even: the scores were divided by d itself. How does the size of a sum of d random products "
    "grow with d?": attend(scores=lambda q, k: q @ k.mT / q.shape[-1]),
    "The scores were divided by the root of H · d, the width of all heads together. How many channels does one score "
    "add up?": attend(scores=lambda q, k: q @ k.mT / (q.shape[1] * q.shape[-1]) ** 0.5),
    "The scores were divided by a number that depends on the length of the text. Which axis is d?": attend(
        scores=lambda q, k: q @ k.mT / q.shape[2] ** 0.5
    ),
    "The scores were multiplied by √d and became larger. Which way should it go?": attend(
        scores=lambda q, k: q @ k.mT * q.shape[-1] ** 0.5
    ),
    "Down each column of the weights the sum is 1, and along the rows it is not. Who shares out attention, a query or "
    "a key?": attend(share=lambda scores, may: scores.softmax(-2)),
    "The heads compete with each other for each pair of tokens. Over which axis should a softmax add up to 1?": attend(
        share=lambda scores, may: scores.softmax(1).nan_to_num()
    ),
    "Only the last row of the weights adds up to 1: it seems that something was taken away after the softmax. Which "
    "step makes a row add up to 1?": attend(
        hide=lambda scores, may: scores, share=lambda scores, may: scores.softmax(-1) * may
    ),
    "The first row is NaN, because it may look nowhere. May a token look at itself?": attend(shift=-1),
    "Each token sees one token too many. Which word is the model asked to say at this place?": attend(shift=1),
    "Every token sees the whole text, also what comes after it. Which step hides the future?": attend(
        hide=lambda scores, may: scores
    ),
    "Each token sees itself and the future, and nothing of the past. Which half of the square should stay?": attend(
        hide=lambda scores, may: scores.masked_fill(~may.mT, -torch.inf)
    ),
    "What should be hidden is seen and what should be seen is hidden, so the last row is NaN. Where is your mask "
    "True?": attend(hide=lambda scores, may: scores.masked_fill(may, -torch.inf)),
    "The future still gets weight. Which share does the softmax give to a score of 0?": attend(
        hide=lambda scores, may: scores.masked_fill(~may, 0.0)
    ),
    "All rows with something hidden in them are NaN. What is the exponential of the number that you put there?": attend(
        hide=lambda scores, may: scores.masked_fill(~may, torch.inf)
    ),
    "The mask was added as ones and zeros, and it hides nothing. How small must a score be for a weight of zero?": (
        attend(hide=lambda scores, may: scores + may)
    ),
    "The scores pair the right number of channels but the wrong ones: the keys were reshaped to (d, T). Does a view "
    "move any number to another row?": attend(
        scores=lambda q, k: q @ k.reshape(*k.shape[:2], k.shape[3], k.shape[2]) / q.shape[-1] ** 0.5
    ),
    "Row and column are exchanged: the score at [t, s] is that of query s with key t. Which of the two stands left of "
    "the @?": attend(scores=lambda q, k: k @ q.mT / q.shape[-1] ** 0.5),
    "The weights are right, and what they mix are the keys. Which tensor holds what a token has to say?": attend(
        mix=lambda weights, q, k, v: weights @ k
    ),
    "The weights are right, and what they mix are the queries. Whose content should be handed on?": attend(
        mix=lambda weights, q, k, v: weights @ q
    ),
    "Each token gives to the places that it should take from: the values were mixed down the columns. Which axis of "
    "the weights meets which axis of v?": attend(mix=lambda weights, q, k, v: weights.mT @ v),
    "The mixed values are right; the second result is the scores. At which step are they shares?": scores_returned,
    "The mixed values are right; the weights that you return were made before the future was hidden. Which ones did "
    "you use?": other_weights,
    "All visible tokens get the same weight, whatever the queries ask. Where do q and k come in?": attend(
        share=seen_alike
    ),
    "Each weight is between 0 and 1 by itself, but they do not compete. Which function makes shares of a row?": attend(
        share=lambda scores, may: scores.sigmoid()
    ),
    "The softmax was taken twice, which gives weight to hidden tokens again. What goes into the second one?": attend(
        share=lambda scores, may: scores.softmax(-1).softmax(-1)
    ),
    "The rows add up to 1/√d: the division came too late. Is the softmax of x/2 half of the softmax of x?": scaled_late,
    "The heads look at each other and the tokens do not. Which two axes should be the last ones?": heads_as_time,
}


def rows_add_up(work, case):
    weights = work(**case)[1]
    return torch.allclose(weights.sum(-1), torch.ones(1, dtype=weights.dtype), atol=1e-4)


def future_does_not_count(work, case):
    """Another last token changes nothing before it."""
    before = work(**case)[0]
    for name in ("k", "v"):
        case[name][:, :, -1] += 1.0
    return torch.allclose(before[:, :, :-1], work(**case)[0][:, :, :-1], atol=1e-5)


attention = Exercise(
    "attention",
    "my_attention(q, k, v) → mixed values (B, H, T, d), weights (B, H, T, T)",
    [
        attention_case(2, 3, 5, 4),
        attention_case(1, 2, 7, 6),
        attention_case(3, 4, 6, 2, scale=1.5),
        attention_case(2, 5, 3, 8, dtype=torch.float64),
    ],
    one_query_at_a_time,
    ATTENTION_MISTAKES,
    {
        "A row of weights does not add up to 1. Each query has one unit of attention to share out: where did the rest "
        "go, or come from?": rows_add_up,
        "Changing the last token changed what earlier tokens receive. What may a token not see?": future_does_not_count,
    },
)


# ---- Grouped queries


def gqa_case(batch, heads, kv_heads, length, dim, read=0, dtype=torch.float32):
    k, v = (normal(batch, kv_heads, read + length, dim, seed=seed, dtype=dtype) for seed in (5, 6))
    return {"q": normal(batch, heads, length, dim, seed=4, dtype=dtype), "k": k, "v": v}


def one_head_at_a_time(q, k, v):
    """The reference: head h of H asks kv head h · K // H; each query stands at the end of what it sees."""
    heads, length, dim = q.shape[1:]
    kv_heads, read = k.shape[1], k.shape[2] - length
    mixed = torch.zeros_like(q)
    for head in range(heads):
        keys, values = k[:, head * kv_heads // heads], v[:, head * kv_heads // heads]
        for place in range(length):
            end = read + place + 1
            scores = torch.einsum("bd,bsd->bs", q[:, head, place], keys[:, :end]) / dim**0.5
            mixed[:, head, place] = torch.einsum("bs,bsd->bd", scores.softmax(-1), values[:, :end])
    return mixed


def group_of(q, k):
    return q.shape[1] // k.shape[1]


def share_out(x, q):
    """(B, K, S, d) → (B, H, S, d), each kv head for the query heads of its group."""
    return x.repeat_interleave(group_of(q, x), dim=1)


def grouped(keys=share_out, values=None, mask=visible, scale=lambda q, k: q.shape[-1] ** 0.5):
    """A grouped attention put together from steps; values follow the keys if nothing else is said."""

    def work(q, k, v):
        all_k, all_v = keys(k, q), (values or keys)(v, q)
        scores = q @ all_k.mT / scale(q, k)
        may = mask(q.shape[2], all_k.shape[2])
        return scores.masked_fill(~may, -torch.inf).softmax(-1) @ all_v

    return work


def in_turn(x, q):
    return x.repeat(1, group_of(q, x), 1, 1)


def query_heads_merged(q, k, v):
    mean = q.unflatten(1, (k.shape[1], -1)).mean(2)
    return grouped()(mean.repeat_interleave(group_of(q, k), dim=1), k, v)


def heads_in_another_order(q, k, v):
    mixed = grouped()(q, k, v)
    return mixed.unflatten(1, (k.shape[1], -1)).transpose(1, 2).flatten(1, 2)


def new_tokens_only(q, k, v):
    return grouped()(q, k[:, :, -q.shape[2] :], v[:, :, -q.shape[2] :])


GQA_MISTAKES = {
    "The kv heads are dealt out in turn, 0 1 0 1, and neighbours should share one: 0 0 1 1. Which function repeats "
    "each row before the next one?": grouped(in_turn),
    "The kv heads are handed out from the last to the first. Which one does query head 0 belong to?": grouped(
        lambda x, q: share_out(x.flip(1), q)
    ),
    "All query heads use kv head 0. What are the other ones for?": grouped(lambda x, q: x[:, :1].expand_as(x[:, :1])),
    "The kv heads were averaged into one. Does a head of a group see what other groups keep?": grouped(
        lambda x, q: x.mean(1, keepdim=True)
    ),
    "The keys are shared as they should be, the values in another order. Do key and value of a token belong to one "
    "head?": grouped(share_out, in_turn),
    "The values are shared as they should be, the keys in another order. Do you treat k as you treat v?": grouped(
        in_turn, share_out
    ),
    "With more keys than queries each query sees too little: your mask begins at key 0. At which position does the "
    "first query stand?": grouped(mask=lambda n, m: torch.ones(n, m, dtype=torch.bool).tril()),
    "With more keys than queries everything is visible. Do several new tokens, read at once, see each other's "
    "future?": grouped(mask=lambda n, m: visible(n, m) if n == m else torch.ones(n, m, dtype=torch.bool)),
    "Nothing hides the future here. Which keys come after a query?": grouped(
        mask=lambda n, m: torch.ones(n, m, dtype=torch.bool)
    ),
    "Each query sees one key beyond its own position. Count: query t of T is at S − T + t, and which key is the "
    "last it may see?": grouped(mask=lambda n, m: visible(n, m, 1)),
    "A query does not see its own key. Is a token allowed to attend to itself?": grouped(
        mask=lambda n, m: visible(n, m, -1)
    ),
    "Only the newest keys are used. What do tokens read before, those of the cache, still have to say?": (
        new_tokens_only
    ),
    "The scores of each head were left undivided. Does sharing keys change the size of a score?": grouped(
        scale=lambda q, k: 1.0
    ),
    "The scores were divided by the root of K · d. Over how many channels does one head sum?": grouped(
        scale=lambda q, k: (k.shape[1] * k.shape[3]) ** 0.5
    ),
    "The scores were divided by the root of the group's size times d. Do heads of a group add their scores?": grouped(
        scale=lambda q, k: (group_of(q, k) * q.shape[3]) ** 0.5
    ),
    "The query heads of a group give the same result: their queries were averaged. What is shared in a group, and "
    "what is not?": query_heads_merged,
    "Each head's result is right and stands in another head's place. In which order do K and the group stand when "
    "they are made one axis?": heads_in_another_order,
    "It works only where K is 1 or H: keys or values still have K heads where the queries have H. How can H heads "
    "read K?": grouped(lambda x, q: x),
}


def a_second_reading(work, case):
    """The last query alone, with all keys, is answered as it is among its fellows."""
    q, k, v = case.values()
    return torch.allclose(work(q, k, v)[:, :, -1:], work(q[:, :, -1:].clone(), k, v), atol=1e-5)


gqa = Exercise(
    "gqa",
    "my_gqa(q, k, v) → mixed values (B, H, T, d)",
    [
        gqa_case(2, 4, 2, 5, 6),
        gqa_case(1, 6, 3, 4, 2, read=3),
        gqa_case(2, 8, 2, 3, 4, read=5),
        gqa_case(3, 3, 3, 6, 4, dtype=torch.float64),
        gqa_case(1, 4, 1, 7, 8),
        gqa_case(2, 6, 2, 1, 4, read=8),
    ],
    one_head_at_a_time,
    GQA_MISTAKES,
    {
        "The last query, asked alone with all keys, gets another answer. Where does its row of the mask end?": (
            a_second_reading
        )
    },
)


# ---- Bytes of a cache

WIDTHS = {1: torch.int8, 2: torch.float16, 4: torch.float32, 8: torch.float64}


def counted(n_layers, n_kv_heads, head_dim, n_tokens, bytes_per_number):
    """The reference: a tensor of that shape says its own size; on the meta device it takes no memory."""
    shape = (n_layers, n_kv_heads, n_tokens, head_dim)
    keys, values = (torch.empty(shape, dtype=WIDTHS[bytes_per_number], device="meta") for _ in range(2))
    return keys.nbytes + values.nbytes


NAMES = ("n_layers", "n_kv_heads", "head_dim", "n_tokens", "bytes_per_number")


def product(without=(), times=2):
    """A wrong count: the factors named are left out, and `times` stands where 2 should."""

    def work(*given):
        result = times
        for name, value in zip(NAMES, given, strict=True):
            result *= 1 if name in without else value
        return result

    return work


CACHE_MISTAKES = {
    "It is half of what the cache takes. What else does a token leave behind beside its key?": product(times=1),
    "It is one and a half times too much. Will the query of an old token be asked for again?": product(times=3),
    "It is twice too much: which factor of 2 is in it a second time?": product(times=4),
    "It does not grow with the layers. Can layer 2 use the keys of layer 1?": product(["n_layers"]),
    "It does not grow with the kv heads. What does each of them keep for itself?": product(["n_kv_heads"]),
    "It does not grow with head_dim. How many numbers are in one key?": product(["head_dim"]),
    "It is the same for a long text and for a short one. What is kept for each token?": product(["n_tokens"]),
    "It counts numbers, and bytes were asked for. How many bytes does one number take?": product(["bytes_per_number"]),
    "It is eight times too much. Bits or bytes?": product(times=16),
    "It counts two bytes a number, always. What is bytes_per_number for?": product(["bytes_per_number"], times=4),
    "It grows with the square of the text. Are the weights, T × T of them, kept as well?": lambda *given: (
        product()(*given) * given[3]
    ),
    "The factors were added up. How many numbers are in a box of 2 × 3 × 4?": lambda *given: 2 + sum(given),
    "It is right but for a factor of 1,024. In which unit was it asked?": lambda *given: product()(*given) / 1024,
    "It is divided by the number of kv heads where it should be multiplied. Does the cache shrink with more heads?": (
        lambda *given: product(["n_kv_heads"])(*given) / given[1]
    ),
}


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
    CACHE_MISTAKES,
)


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
    """The letters of a learner's list or text; a question mark stands for no answer yet."""
    letters = work if isinstance(work, (str, list, tuple)) else [] if work in (None, ...) else [work]
    return [letter for letter in letters if letter not in (",", " ", "?", "")]


def assembled(letters):
    """The function whose body are the lines of these letters, in this order."""
    source = "def in_your_order(q, k, v):\n" + "\n".join(f"    {LINES[letter]}" for letter in letters)
    linecache.cache["<your order>"] = (len(source), None, source.splitlines(keepends=True), "<your order>")
    names = {"torch": torch}
    exec(compile(source, "<your order>", "exec"), names)  # the lines above, and no others
    return names["in_your_order"]


def too_early(letters) -> str | None:
    """The first line that uses a name which no line above it has made, or that stands behind the end."""
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
    """An exercise whose work is a list of letters, ["c", "a", …], or the function that they make."""

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
            found = {"missing": left, "more than once": twice}
            said = [f"{how}: {', '.join(lines)}" for how, lines in found.items() if lines]
            return self._wrong(f"Each line is used once; {'; '.join(said)}.")
        early = too_early(letters)
        return self._wrong(early) if early else super().judge(assembled(letters))


attention_order = Order(
    "attention_order",
    "a list of the eight letters, such as ['a', 'b', …]",
    attention.cases,
    one_query_at_a_time,
    {
        "It runs, and the future is not hidden: line d changes the scores when nobody reads them any more. Who reads "
        "them last?": assembled("chgafdeb"),
        "It runs, and the scores reach the softmax at full size. Which line comes too late to matter?": (
            assembled("hcfdageb")
        ),
        "It runs, and two lines change the scores after they were last used. Which line uses them?": (
            assembled("hcafdgeb")
        ),
    },
    attention.properties,
    lines=LINES,
)
