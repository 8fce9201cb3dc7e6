"""Exercises of lesson 08: the generation loop, and the KV cache that it reads with.

The loop is judged with a small model of this file. Its scores depend on every token that it has read, in order, so a
token that is read twice or never shows in all that follow. The cache is judged alone, with numbers as keys and values.
"""

from collections.abc import Iterator
from itertools import islice
from types import SimpleNamespace

import torch
from torch import Tensor

from .ladder import Exercise

# ---- The loop

V = 11
EOS = 2


class Reader:
    """A stand-in model, called as MiniLLM is: idx (B, T) → scores (B, T, V), which depend on all tokens before, and
    None. What it read earlier is in the cache. `calls` lists the cache of each call."""

    def __init__(self):
        self.calls = []
        self.table = 0.8 * torch.randn(V, V, generator=torch.Generator().manual_seed(5))

    def __call__(self, idx, targets=None, cache=None):
        self.calls.append(cache)
        state, scores = torch.zeros(idx.shape[0], V) if cache is None or cache.state is None else cache.state, []
        for token in idx.unbind(1):
            state = state.roll(1, -1) + self.table[token]
            scores.append(state if cache is None else state.roll(cache.length - cache.read, -1))
        if cache is not None:
            cache.state, cache.read = state, cache.read + idx.shape[1]
            cache.advance(idx.shape[1])
        return torch.stack(scores, 1), None


class Read:
    """A stand-in cache: what a Reader has read, and how many tokens it was told of."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.state, self.length, self.read = None, 0, 0

    def advance(self, n_new):
        self.length += n_new


class Choice:
    """A stand-in for `next_token`: it samples (B, 1) from scores (B, V) with random numbers of its own."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(14)

    def __call__(self, scores):
        if not isinstance(scores, Tensor) or scores.dim() != 2 or scores.shape[1] != V:
            found = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise ValueError(f"next_token takes the scores of one position in the shape [B, V], found {found}")
        ends = scores.softmax(-1).cumsum(-1)
        point = torch.rand(len(scores), 1, generator=self.generator) * ends[:, -1:]
        return torch.searchsorted(ends, point).clamp(max=V - 1)


def written(loop, case):
    """The tokens (B, n) of a loop. What is no row of tokens (B, 1) each is given back as it came."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)  # a loop that samples by itself does it the same way each time
        result = loop(Reader(), case["idx"], case["n"], Choice(), Read())
        if not isinstance(result, Iterator):
            return list(result.unbind(1)) if isinstance(result, Tensor) and result.dim() == 2 else result
        columns = list(islice(result, case["n"] + 2))
    odd = [c for c in columns if not isinstance(c, Tensor) or c.shape != (len(case["idx"]), 1)]
    return odd[0] if odd else torch.cat([case["idx"][:, :0], *columns], 1)


def each_call_has_the_cache(loop, case):
    model = Reader()
    list(islice(loop(model, case["idx"], case["n"], Choice(), Read()), case["n"] + 2))
    return None not in model.calls


def first_token_comes_first(loop, case):
    """Whether the model has read no more than the prompt when the first token is there."""
    model = Reader()
    next(loop(model, case["idx"], case["n"], Choice(), Read()))
    return len(model.calls) <= case["idx"].shape[1]


def right_loop(model, idx, n, next_token, cache):
    while n > 0:
        idx = next_token(model(idx, cache=cache)[0].select(1, -1))
        n -= 1
        yield idx


WITHOUT_CACHE = (
    "The tokens are right, but the model was called without the cache, and read the whole text for each of them. "
    "Which argument keeps what has been read?"
)
ALL_AT_ONCE = (
    "The tokens are right, but all were computed before the first came out. What should the one who reads along see "
    "in the meantime?"
)
generate = Exercise(
    "generate",
    "my_generate(model, idx, n, next_token, cache), which yields n tokens (B, 1)",
    [
        {"idx": torch.tensor([[1, 4, 9]]), "n": 12},
        {"idx": torch.tensor([[1, 3, 3, 7], [1, 10, 5, 0]]), "n": 5},
        {"idx": torch.tensor([[6], [1], [8]]), "n": 4},
    ],
    right_loop,
    {WITHOUT_CACHE: each_call_has_the_cache, ALL_AT_ONCE: first_token_comes_first},
    run=written,
)


@generate.mistake(WITHOUT_CACHE)
def reads_all_without_the_cache(model, idx, n, next_token, cache):
    for _ in range(n):
        unread = next_token(model(idx)[0][:, -1])
        idx = torch.cat((idx, unread), 1)
        yield unread


@generate.mistake(ALL_AT_ONCE)
def computes_all_before_the_first(model, idx, n, next_token, cache):
    yield from list(right_loop(model, idx, n, next_token, cache))


@generate.mistake
def reads_the_whole_text_into_a_filled_cache(model, idx, n, next_token, cache):
    """The whole text went into a cache that holds most of it already, so the model read it twice, three times, and
    so on. Which tokens has it not read yet?"""
    for _ in range(n):
        unread = next_token(model(idx, cache=cache)[0][:, -1])
        idx = torch.cat((idx, unread), 1)
        yield unread


@generate.mistake
def reads_the_prompt_again(model, idx, n, next_token, cache):
    """The model read the prompt again in every round, and never one of the new tokens. What changes from round to
    round?"""
    for _ in range(n):
        yield next_token(model(idx, cache=cache)[0][:, -1])


@generate.mistake
def never_reads_the_new_token(model, idx, n, next_token, cache):
    """After the prompt the model read its last token again and again. Which token came last?"""
    unread = idx
    for _ in range(n):
        token = next_token(model(unread, cache=cache)[0][:, -1])
        unread = idx[:, -1:]
        yield token


@generate.mistake
def chooses_from_the_first_position(model, idx, n, next_token, cache):
    """The token was chosen from the scores of the first position, which has seen one token of the prompt. Which
    position has seen all of it?"""
    for _ in range(n):
        idx = next_token(model(idx, cache=cache)[0][:, 0])
        yield idx


@generate.mistake
def hands_over_all_positions(model, idx, n, next_token, cache):
    """`next_token` got the scores of every position. How many positions is a token chosen from?"""
    for _ in range(n):
        idx = next_token(model(idx, cache=cache)[0])
        yield idx


@generate.mistake
def one_too_few(model, idx, n, next_token, cache):
    """One token is missing. How often does the loop run when n is 1?"""
    return right_loop(model, idx, n - 1, next_token, cache)


@generate.mistake
def one_too_many(model, idx, n, next_token, cache):
    """There is one token too many. How often does the loop run when n is 1?"""
    return right_loop(model, idx, n + 1, next_token, cache)


@generate.mistake
def yields_the_prompt_first(model, idx, n, next_token, cache):
    """The first token that came out is the last one of the prompt. What is new when nothing has been read?"""
    for _ in range(n):
        yield idx[:, -1:]
        idx = next_token(model(idx, cache=cache)[0][:, -1])


@generate.mistake
def takes_the_most_probable(model, idx, n, next_token, cache):
    """The most probable token was taken every time. Who knows the settings and the random numbers?"""
    for _ in range(n):
        idx = model(idx, cache=cache)[0][:, -1].argmax(-1, keepdim=True)
        yield idx


@generate.mistake
def samples_by_itself(model, idx, n, next_token, cache):
    """It sampled with torch's own random numbers, so no seed decides the text and no filter acts. Which argument
    does both?"""
    for _ in range(n):
        idx = torch.multinomial(model(idx, cache=cache)[0][:, -1].softmax(-1), 1)
        yield idx


@generate.mistake
def ends_at_the_end_token(model, idx, n, next_token, cache):
    """It ended at the end-of-document token, before n tokens were there. Who decides when a text is over, the loop or
    the one who asks it for tokens?"""
    for _ in range(n):
        idx = next_token(model(idx, cache=cache)[0][:, -1])
        yield idx
        if (idx == EOS).all():
            return


@generate.mistake
def empties_the_cache_each_time(model, idx, n, next_token, cache):
    """The cache was emptied in every round, so the model saw one token and not the text before it. When should it be
    empty?"""
    for _ in range(n):
        cache.reset()
        idx = next_token(model(idx, cache=cache)[0][:, -1])
        yield idx


@generate.mistake
def returns_the_text(model, idx, n, next_token, cache):
    """One tensor came back at the end. Which word hands over one token and goes on after it?"""
    return torch.cat((idx, *right_loop(model, idx, n, next_token, cache)), 1)


@generate.mistake
def returns_the_new_tokens(model, idx, n, next_token, cache):
    """A list came back at the end. Which word hands over one token and goes on after it?"""
    return list(right_loop(model, idx, n, next_token, cache))


@generate.mistake
def returns_the_new_tokens_as_a_tensor(model, idx, n, next_token, cache):
    """One tensor with all new tokens came back at the end. Which word hands over one token and goes on after it?"""
    return torch.cat(list(right_loop(model, idx, n, next_token, cache)), 1)


@generate.mistake
def hands_nothing_over(model, idx, n, next_token, cache):
    """The loop ran to its end and handed nothing over. Which word hands over one token and goes on after it?"""
    list(right_loop(model, idx, n, next_token, cache))


@generate.mistake
def yields_numbers(model, idx, n, next_token, cache):
    """Numbers came out, and a batch has several texts. Which shape has one new token of each text?"""
    for _ in range(n):
        idx = next_token(model(idx, cache=cache)[0][:, -1])
        yield idx.item()


@generate.mistake
def counts_the_tokens_again(model, idx, n, next_token, cache):
    """The cache was told of each token twice, so it took the text for a longer one. Who calls `advance` already?"""
    for _ in range(n):
        scores = model(idx, cache=cache)[0][:, -1]
        cache.advance(idx.shape[1])
        idx = next_token(scores)
        yield idx


@generate.mistake
def yields_without_the_axis_of_positions(model, idx, n, next_token, cache):
    """The axis of positions is missing from what came out. Which shape has one new token of each text?"""
    for token in right_loop(model, idx, n, next_token, cache):
        yield token[:, 0]


@generate.mistake
def yields_the_whole_text(model, idx, n, next_token, cache):
    """The whole text so far came out each time. What does the one who reads along have already?"""
    for token in right_loop(model, idx, n, next_token, cache):
        idx = torch.cat((idx, token), 1)
        yield idx


# ---- The KV cache

ROOM = 8  # times the length of a case's text: a cache that counts too much shows by its numbers, not by an error


def cache_case(n_layers, batch_size, n_kv_heads, head_dim, reads, dtype=torch.float32):
    """Keys and values (L, B, K, S, d) for a text that is read in parts of the lengths `reads`."""
    g = torch.Generator().manual_seed(head_dim)
    k, v = torch.randn(2, n_layers, batch_size, n_kv_heads, sum(reads), head_dim, generator=g, dtype=dtype)
    return {"k": k, "v": v, "reads": reads}


def made(kind, case):
    """A cache of the learner's class with the room for the keys and values of a case."""
    n_layers, batch_size, n_kv_heads, length, head_dim = case["k"].shape
    heads = dict(n_heads=2 * n_kv_heads, n_kv_heads=n_kv_heads, head_dim=head_dim, dim=2 * n_kv_heads * head_dim)
    config = SimpleNamespace(n_layers=n_layers, max_seq_len=ROOM * length, **heads)
    return kind(config, batch_size, "cpu", case["k"].dtype)


def stored(kind, case):
    """All that a cache gives for one text, and for the first part of another one after `reset`."""
    cache, results = made(kind, case), []
    if cache is None:
        return None
    for part, n in enumerate([*case["reads"], case["reads"][0]]):
        second = part == len(case["reads"])
        start = 0 if second else sum(case["reads"][:part])
        if second:
            cache.reset()
        for layer in range(len(case["k"])):
            k, v = (case[name][layer, :, :, start : start + n] + second for name in "kv")
            pair = cache.store(layer, k, v)
            if not isinstance(pair, tuple | list) or not all(isinstance(one, Tensor) for one in pair):
                return pair
            results += [one.clone() for one in pair]
        cache.advance(n)
        results.append(cache.length.clone() if isinstance(cache.length, Tensor) else cache.length)
    return results


def name_of_stored(number: int, case: dict) -> str:
    """What the number-th result of `stored` is, in words."""
    per_part = 2 * len(case["k"]) + 1
    part, place = divmod(number - 1, per_part)
    if part == len(case["reads"]):
        when = f"{case['reads'][0]} tokens after reset()"
    else:
        when = f"{sum(case['reads'][: part + 1])} tokens"
    if place == per_part - 1:
        return f"the length after {when}"
    return f"the {'kv'[place % 2]} of layer {place // 2} after {when}"


def has_the_room(kind, case):
    cache, (n_layers, B, K, length, d) = made(kind, case), case["k"].shape
    rooms = [cache.k, cache.v]
    if any(len(room) != n_layers for room in rooms):
        return False
    layers = [room[number] for room in rooms for number in range(n_layers)]
    return all(isinstance(layer, Tensor) and tuple(layer.shape) == (B, K, ROOM * length, d) for layer in layers)


class RightCache:
    """Keys and values of all layers in one tensor (2, L, B, K, room, d)."""

    def __init__(self, config, batch_size=1, device="cpu", dtype=None):
        shape = config.n_layers, batch_size, config.n_kv_heads, config.max_seq_len, config.head_dim
        self.both = torch.zeros(2, *shape, device=device, dtype=dtype)
        (self.k, self.v), self.length = self.both, 0

    def store(self, layer, k, v):
        new = torch.stack((k, v))
        self.both[:, layer].narrow(-2, self.length, new.shape[-2]).copy_(new)
        return tuple(self.both[:, layer].narrow(-2, 0, self.length + new.shape[-2]))

    def advance(self, n_new):
        self.length += n_new

    def reset(self):
        self.length = 0


class ByLayer(RightCache):
    """A right cache in the form in which most learners write it; the mistakes change one thing in it."""

    def __init__(self, config, batch_size=1, device="cpu", dtype=None):
        shape = batch_size, config.n_kv_heads, config.max_seq_len, config.head_dim
        self.k = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.n_layers)]
        self.v = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.n_layers)]
        self.length = 0

    def store(self, layer, k, v):
        end = self.length + k.shape[2]
        self.k[layer][:, :, self.length : end] = k
        self.v[layer][:, :, self.length : end] = v
        return self.k[layer][:, :, :end], self.v[layer][:, :, :end]


NO_ROOM = (
    "What it gives is right, but `k` and `v` do not hold a tensor (B, K, max_seq_len, d) for each layer from the "
    "start: the memory is taken again for each token. When is its size known?"
)
kv_cache = Exercise(
    "kv_cache",
    "class MyCache with __init__, store, advance and reset",
    [
        cache_case(2, 3, 1, 4, [3, 1, 1]),
        cache_case(3, 1, 2, 5, [1, 2]),
        cache_case(1, 2, 3, 6, [2, 1, 4], torch.float64),
    ],
    RightCache,
    {NO_ROOM: has_the_room},
    run=stored,
    kind="class",
    value_name=name_of_stored,
)


@kv_cache.mistake(NO_ROOM)
class GrowsByCat(ByLayer):
    def store(self, layer, k, v):
        if self.length == 0:
            self.k, self.v = list(self.k), list(self.v)
            self.k[layer], self.v[layer] = k, v
        else:
            self.k[layer] = torch.cat((self.k[layer], k), 2)
            self.v[layer] = torch.cat((self.v[layer], v), 2)
        return self.k[layer], self.v[layer]

    def __init__(self, config, batch_size=1, device="cpu", dtype=None):
        self.k, self.v, self.length = [None] * config.n_layers, [None] * config.n_layers, 0


@kv_cache.mistake
class AlwaysAtZero(ByLayer):
    """The new tokens were written over the first ones. At which position does the second part of a text begin?"""

    def store(self, layer, k, v):
        n, end = k.shape[2], self.length + k.shape[2]
        self.k[layer][:, :, :n], self.v[layer][:, :, :n] = k, v
        return self.k[layer][:, :, :end], self.v[layer][:, :, :end]


@kv_cache.mistake
class GivesTheWholeRoom(ByLayer):
    """The unfilled room came out too: zeros, to which a query would attend. How many positions are filled?"""

    def store(self, layer, k, v):
        super().store(layer, k, v)
        return self.k[layer], self.v[layer]


@kv_cache.mistake
class GivesOnlyTheNew(ByLayer):
    """Only the new tokens came out. What does the new query attend to?"""

    def store(self, layer, k, v):
        super().store(layer, k, v)
        return k, v


@kv_cache.mistake
class GivesOnlyTheOld(ByLayer):
    """The new tokens are missing from what came out. Does a token attend to itself?"""

    def store(self, layer, k, v):
        super().store(layer, k, v)
        return self.k[layer][:, :, : self.length], self.v[layer][:, :, : self.length]


@kv_cache.mistake
class RoomForOneSequence(ByLayer):
    """There is room for one text, and a batch has several. Where does `batch_size` belong?"""

    def __init__(self, config, batch_size=1, device="cpu", dtype=None):
        super().__init__(config, 1, device, dtype)


@kv_cache.mistake
class OneRoomForAllLayers(ByLayer):
    """All layers wrote into the same room, so the last one won. What is the first argument of `store` for?"""

    def store(self, layer, k, v):
        return super().store(0, k, v)


@kv_cache.mistake
class CountsInStoreAndAdvance(ByLayer):
    """The tokens were counted in each layer and once more at the end. How many layers store the same token?"""

    def store(self, layer, k, v):
        both = super().store(layer, k, v)
        self.length += k.shape[2]
        return both


@kv_cache.mistake
class CountsInStore(ByLayer):
    """Each layer counted the tokens, so the second layer began too late. Who is called once for all layers?"""

    def store(self, layer, k, v):
        both = super().store(layer, k, v)
        self.length += k.shape[2]
        return both

    def advance(self, n_new):
        pass


@kv_cache.mistake
class AdvanceForgetsTheOld(ByLayer):
    """The length is that of the newest part alone. How many tokens were there before?"""

    def advance(self, n_new):
        self.length = n_new


@kv_cache.mistake
class NeverCounts(ByLayer):
    """The length stays 0 however much is read. What should `advance` change?"""

    def advance(self, n_new):
        pass


@kv_cache.mistake
class ResetKeepsTheLength(ByLayer):
    """After `reset` the next text is put after the old one. Which number says how much is filled?"""

    def reset(self):
        pass


@kv_cache.mistake
class KeysAndValuesExchanged(ByLayer):
    """Keys and values are exchanged. In which order does `store` get them?"""

    def store(self, layer, k, v):
        return super().store(layer, k, v)[::-1]


@kv_cache.mistake
class RoomForTheQueryHeads(ByLayer):
    """There is room for every query head, and keys come only for the kv heads. Which of the two numbers is smaller
    under GQA?"""

    def __init__(self, config, batch_size=1, device="cpu", dtype=None):
        query_heads = SimpleNamespace(**vars(config) | {"n_kv_heads": config.n_heads})
        super().__init__(query_heads, batch_size, device, dtype)


@kv_cache.mistake
class DtypeForgotten(ByLayer):
    """The numbers came out in another precision than they went in. What is `dtype` for?"""

    def __init__(self, config, batch_size=1, device="cpu", dtype=None):
        super().__init__(config, batch_size, device)


@kv_cache.mistake
class AppendsOnTheAxisOfHeads(ByLayer):
    """It wrote along the axis of the heads. Which axis of (B, K, S, d) counts positions?"""

    def store(self, layer, k, v):
        end = self.length + k.shape[2]
        self.k[layer][:, self.length : end], self.v[layer][:, self.length : end] = k, v
        return self.k[layer][:, :end], self.v[layer][:, :end]


@kv_cache.mistake
class GivesNothingButKeys(ByLayer):
    """`store` gave back one tensor. What do the attention weights mix?"""

    def store(self, layer, k, v):
        return super().store(layer, k, v)[0]
