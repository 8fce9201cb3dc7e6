"""The filters against plain loops in Python, and generation against the full forward."""

import inspect
import math
import warnings

import pytest
import torch
from helpers import CONFIG, random_model, tokens

from foundry_lib import ConfigError, FoundryError, Notice, SampleConfig, generate
from foundry_lib.commands import generate as generate_command
from foundry_lib.inference.cuda_graphs import Recorded
from foundry_lib.inference.generation import generate_tokens, sample_text, stream, window_start
from foundry_lib.inference.sampling import (
    apply_min_p,
    apply_repetition_penalty,
    apply_temperature,
    apply_top_k,
    apply_top_p,
    draw,
    next_token_distribution,
)
from foundry_lib.text.tokenizer import Tokenizer


def logits(rows: int = 6, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(rows, 40, generator=torch.Generator().manual_seed(seed))


def kept(filtered: torch.Tensor) -> list[set[int]]:
    return [set(torch.where(row > -math.inf)[0].tolist()) for row in filtered]


def ranked(row: torch.Tensor) -> list[tuple[float, int]]:
    return sorted(((p, i) for i, p in enumerate(row.softmax(-1).tolist())), reverse=True)


@pytest.mark.parametrize("k", [1, 3, 40, 1000])
def test_top_k_keeps_the_k_largest(k):
    x = logits()
    assert kept(apply_top_k(x, k)) == [{i for _, i in ranked(row)[:k]} for row in x]


def test_top_k_keeps_ties():
    x = torch.tensor([[1.0, 2.0, 2.0, 2.0, 0.0]])
    assert kept(apply_top_k(x, 1)) == [{1, 2, 3}]


@pytest.mark.parametrize("p", [0.01, 0.3, 0.9, 0.999])
def test_top_p_keeps_the_smallest_set_that_reaches_p(p):
    x = logits()
    for row, ids in zip(x, kept(apply_top_p(x, p)), strict=True):
        total, expected = 0.0, set()
        for probability, i in ranked(row):
            if total >= p:
                break
            expected.add(i)  # the token that crosses p belongs to the set
            total += probability
        assert ids == expected and len(ids) >= 1


def test_top_p_stops_where_p_is_reached_exactly():
    x = torch.tensor([[0.5, 0.25, 0.25]]).log()  # powers of two, so that the sums are exact
    assert kept(apply_top_p(x, 0.5)) == [{0}] and len(kept(apply_top_p(x, 0.75))[0]) == 2


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(FoundryError, match="no numbers"):
        draw(torch.full((1, 5), math.nan))


def test_top_p_looks_as_far_as_it_must():
    """A flat row needs more tokens than are looked at first, a steep one in the same batch does not."""
    x = torch.stack((torch.linspace(0, 1, 5000), torch.linspace(0, 1000, 5000)))
    flat, steep = kept(apply_top_p(x, 0.9))
    probs = x.double().softmax(-1)[0].flip(0)  # the most likely first
    assert len(flat) == int((probs.cumsum(0) < 0.9).sum()) + 1 and flat == set(range(5000 - len(flat), 5000))
    assert len(steep) == int((x.double().softmax(-1)[1].flip(0).cumsum(0) < 0.9).sum()) + 1 < 256 < len(flat)


def test_a_draw_follows_the_probabilities():
    """100,000 draws: each share within five standard errors; what has no probability is never drawn."""
    probs = torch.tensor([0.0, 0.5, 0.0, 0.3, 0.15, 0.05, 0.0])
    n = 100_000
    counts = draw(probs.expand(n, -1), torch.Generator().manual_seed(0)).flatten().bincount(minlength=7)
    off = (counts / n - probs).abs()
    assert (off <= 5 * (probs * (1 - probs) / n).sqrt()).all() and counts[probs == 0].sum() == 0


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_a_draw_at_the_ends_of_the_line_is_a_possible_token(end, monkeypatch):
    """Even where the probabilities add up to a little less or more than 1."""
    largest = torch.nextafter(torch.tensor(1.0), torch.tensor(0.0)).item()  # torch.rand gives no more
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, end and largest))
    rows = torch.empty(200, 300).uniform_(generator=torch.Generator().manual_seed(0)) ** 3
    rows[:, :10], rows[:, -10:] = 0, 0
    rows = rows / rows.sum(-1, keepdim=True) * torch.linspace(1 - 1e-6, 1 + 1e-6, 200)[:, None]
    drawn = draw(rows)
    assert drawn.min() >= 10 and drawn.max() < 290


def test_min_p_is_relative_to_the_most_likely():
    x = torch.log(torch.tensor([[0.5, 0.3, 0.12, 0.05, 0.03]]))
    assert kept(apply_min_p(x, 0.2)) == [{0, 1, 2}] and kept(apply_min_p(x, 1.0)) == [{0}]


def test_temperature():
    x = logits()
    assert torch.allclose(apply_temperature(x, 2.0).softmax(-1), (x / 2).softmax(-1))
    assert kept(apply_temperature(x, 0)) == [{i} for i in x.argmax(-1).tolist()]
    assert kept(apply_temperature(torch.zeros(1, 4), 0)) == [{0}]  # a tie: the first


def test_repetition_penalty_lowers_both_signs():
    x = torch.tensor([[2.0, -2.0, 1.0]])
    assert apply_repetition_penalty(x, torch.tensor([[0, 1, 1]]), 2.0).tolist() == [[1.0, -4.0, 1.0]]


def test_filters_leave_their_input_alone_and_give_a_distribution():
    x = logits()
    before = x.clone()
    config = SampleConfig(temperature=0.7, top_k=12, top_p=0.8, min_p=0.02, repetition_penalty=1.3)
    probs = next_token_distribution(x, config, seen=torch.zeros(6, 3, dtype=torch.long))
    assert torch.equal(x, before)
    assert torch.allclose(probs.sum(-1), torch.ones(6)) and (probs >= 0).all()
    assert torch.allclose(next_token_distribution(x, SampleConfig()), x.softmax(-1))


def test_a_filter_that_is_off_changes_nothing():
    """A slider at 0, or a top-p of 1, gives the plain softmax."""
    x = logits()
    for off in (dict(top_k=0), dict(top_k=None), dict(top_p=1), dict(top_p=None), dict(min_p=0)):
        assert torch.equal(next_token_distribution(x, SampleConfig(**off)), x.softmax(-1)), off


def test_order_of_the_filters():
    """Temperature comes first: at temperature 0.5 fewer tokens make up 0.8 than at temperature 2."""
    x = logits(1)
    sharp, flat = (next_token_distribution(x, SampleConfig(temperature=t, top_p=0.8)) for t in (0.5, 2))
    assert (sharp > 0).sum() < (flat > 0).sum()


@torch.no_grad()
def uncached(model, idx, n, config, generator):
    """The slow way: the whole window through the model for every token."""
    for _ in range(n):
        start = window_start(idx.shape[1], model.config.max_seq_len)
        out, _ = model(idx[:, start:])
        probs = next_token_distribution(out[:, -1], config, seen=idx[:, start:])
        idx = torch.cat((idx, draw(probs, generator)), 1)
    return idx


@pytest.mark.parametrize(
    "settings", [dict(), dict(temperature=0), dict(top_k=5, temperature=1.4), dict(top_p=0.7, repetition_penalty=1.2)]
)
def test_generation_with_the_cache_equals_generation_without(settings):
    model, idx = random_model(dtype=torch.float64), tokens(3, 5)
    new = 3 * CONFIG.max_seq_len  # far past the context, so that the window moves several times
    fast = generate(model, idx, new, **settings, generator=torch.Generator().manual_seed(1))
    slow = uncached(model, idx, new, SampleConfig(**settings), torch.Generator().manual_seed(1))
    assert torch.equal(fast, slow) and fast.shape == (3, 5 + new)


def test_window():
    assert [window_start(n, 8) for n in (1, 8, 9, 12, 13, 16, 17)] == [0, 0, 4, 4, 8, 8, 12]
    assert all(1 <= n - window_start(n, m) <= m for m in (1, 2, 3, 8, 9) for n in range(1, 60))


def test_greedy_is_argmax_whatever_the_generator():
    model, idx = random_model(), tokens(2, 4)
    first = generate(model, idx, 12, temperature=0, generator=torch.Generator().manual_seed(1))
    assert torch.equal(first, generate(model, idx, 12, temperature=0))
    with torch.no_grad():
        assert torch.equal(first[:, 4], model(idx)[0][:, -1].argmax(-1))


def test_a_seed_decides_and_the_global_generator_is_left_alone():
    model, idx = random_model(), tokens(1, 4)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    a = generate(model, idx, 20, generator=torch.Generator().manual_seed(5))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(a, generate(model, idx, 20, generator=torch.Generator().manual_seed(5)))
    assert not torch.equal(a, generate(model, idx, 20, generator=torch.Generator().manual_seed(6)))


def test_long_and_empty_prompts():
    model = random_model()
    with pytest.warns(Notice, match="prompt has 30 tokens, the model reads 24"):
        out = generate(model, tokens(1, 30), 2)
    assert out.shape == (1, 32)
    assert generate(model, torch.zeros(2, 0, dtype=torch.long), 3).shape == (2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generate(model, tokens(1, 24), 2)


def test_settings_may_change_while_tokens_are_drawn():
    model, idx, temperature = random_model(), tokens(1, 4), [5.0]
    drawn = generate_tokens(model, idx, 40, lambda: SampleConfig(temperature=temperature[0]))
    for _ in range(10):
        idx = torch.cat((idx, next(drawn)), 1)
    temperature[0] = 0.0
    rest = torch.cat([idx, *drawn], 1)
    with torch.no_grad():
        assert rest[0, 14] == model(idx)[0][0, -1].argmax()


@pytest.mark.parametrize("bad", [dict(temperature=-1), dict(top_p=0), dict(top_k=-3), dict(temperature=math.nan)])
def test_nonsense_is_refused_by_name(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        generate(random_model(), tokens(1, 4), 1, **bad)


def test_streamed_text_is_the_generated_text():
    text = "the cat sat on the mat. 小猫坐在垫子上。 " * 60
    tokenizer = Tokenizer.train(text, 300)
    model = random_model(CONFIG.with_(vocab_size=tokenizer.vocab_size))
    prompt = tokenizer.encode("the cat", bos=True)
    expected = generate(model, torch.tensor([prompt]), 60, generator=torch.Generator().manual_seed(2))[0].tolist()
    pieces = list(stream(model, tokenizer, "the cat", 60, seed=2, stop_at_end=False))
    assert "".join(pieces) == tokenizer.decode(expected[len(prompt) :])
    assert len(pieces) > 5 and all(pieces)
    assert sample_text(model, tokenizer, "the cat", 10, seed=2).startswith("the cat")


@pytest.mark.parametrize(("stop_at_end", "text"), [(True, "the cat"), (False, "the cat sat")])
def test_a_text_ends_with_the_end_sign(stop_at_end, text, monkeypatch):
    """Behind the end sign another document begins, which is not part of the answer."""
    tokenizer = Tokenizer.train("the cat sat on the mat. " * 60, 280)
    drawn = [*tokenizer.encode("the cat", eos=True), *tokenizer.encode(" sat")]
    monkeypatch.setattr(
        "foundry_lib.inference.generation.generate_tokens", lambda *_: (torch.tensor([[token]]) for token in drawn)
    )
    model = random_model(CONFIG.with_(vocab_size=tokenizer.vocab_size))
    assert "".join(stream(model, tokenizer, "", 60, stop_at_end=stop_at_end)) == text


def test_two_filters_follow_each_other_in_the_order_that_is_promised():
    """top-k before top-p, temperature before min-p, by hand; another order would keep other tokens."""
    x = torch.log(torch.tensor([[0.4, 0.2, 0.15, 0.1, 0.1, 0.05]]))

    def ids(**settings):
        return set(torch.where(next_token_distribution(x, SampleConfig(**settings))[0] > 0)[0].tolist())

    # k = 3 leaves 0.53, 0.27, 0.2, of which two reach 0.76; of the whole it would take four
    assert ids(top_k=3, top_p=0.76) == {0, 1} and ids(top_p=0.76) == {0, 1, 2, 3}
    assert ids(min_p=0.4) == {0, 1} and ids(temperature=2, min_p=0.45) == {0, 1, 2, 3, 4}


def favour_the_end(model):
    """Make the end-of-document token the likeliest everywhere."""
    model.norm.register_forward_hook(lambda module, inputs, output: torch.ones_like(output))
    with torch.no_grad():
        model.output.weight.zero_()
        model.output.weight[2] = 1.0


def test_a_stream_ends_with_the_document_and_an_empty_prompt_is_bos():
    tokenizer = Tokenizer.train("the cat sat on the mat. " * 60, 280)
    model = random_model(CONFIG.with_(vocab_size=tokenizer.vocab_size))
    greedy = SampleConfig(temperature=0)
    from_nothing = generate(model, torch.zeros(1, 0, dtype=torch.long), 5, temperature=0)
    assert torch.equal(from_nothing, generate(model, torch.tensor([[1]]), 5, temperature=0)[:, 1:])
    favour_the_end(model)
    assert "".join(stream(model, tokenizer, "the", 9, greedy)) == ""
    assert torch.cat(list(generate_tokens(model, torch.tensor([[1]]), 9, greedy))).flatten().tolist() == [2] * 9


@pytest.mark.parametrize("bad", [-1, 2.0])
def test_a_number_of_tokens_that_is_none_is_refused(bad):
    with pytest.raises(ConfigError, match="max_new_tokens"):
        generate(random_model(), tokens(1, 4), bad)


def test_tiny_temperatures_are_greedy_and_not_nan():
    for temperature in (1e-45, 1e-7, 2e-6):
        probs = next_token_distribution(logits(), SampleConfig(temperature=temperature))
        assert torch.equal(probs.argmax(-1), logits().argmax(-1)) and probs.sum(-1).allclose(torch.ones(6))


def test_cuda_graphs_are_refused_in_words_without_a_gpu():
    with pytest.raises(ConfigError, match="is for a model on a CUDA device, found one on cpu; let the model itself"):
        Recorded(random_model())


def test_generate_has_the_defaults_of_the_settings_and_passes_every_field_on():
    parameters = inspect.signature(generate).parameters
    settings = vars(SampleConfig())
    assert {name: parameters[name].default for name in settings if name in parameters} == dict(
        temperature=1.0, top_k=0, top_p=1.0
    )
    model, idx = random_model(), tokens(1, 4)
    greedy = generate(model, idx, 8, temperature=0)
    assert torch.equal(greedy, generate(model, idx, 8, min_p=1.0))
    assert torch.equal(greedy, generate(model, idx, 8, temperature=0, top_k=None, top_p=None, repetition_penalty=1.0))
    with pytest.raises(ConfigError, match="no field 'topk'"):
        generate(model, idx, 8, topk=3)


def test_the_command_has_an_option_for_each_setting():
    options = vars(generate_command.parse(["--top-k", "3", "--min-p", "0.5"]))
    assert set(vars(SampleConfig())) <= set(options) and set(generate_command.HELP) == set(vars(SampleConfig())) - {
        "temperature"
    }
    assert (options["top_k"], options["min_p"], options["top_p"]) == (3, 0.5, None)
