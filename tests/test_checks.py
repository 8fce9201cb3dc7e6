"""The checks of the exercises: the reference passes, every known mistake fails with its own words, nothing raises."""

import itertools
import re
from collections import Counter
from dataclasses import replace
from functools import cache

import nbformat
import numpy as np
import pytest
import torch

from foundry_lib import rms_norm
from foundry_lib.lessons import checks, progress
from foundry_lib.paths import LESSONS

MISTAKES = [(e, said) for e in checks.EXERCISES.values() for said in e.mistakes]


@cache
def verdict_on(name: str, said: str) -> checks.ladder.Verdict:
    """The verdict on a known mistake. Several tests read it, and the whole bank takes a minute to judge."""
    return checks.EXERCISES[name].judge(checks.EXERCISES[name].mistakes[said])


@pytest.mark.parametrize("exercise", checks.EXERCISES.values(), ids=lambda e: e.name)
def test_the_reference_passes(exercise):
    verdict = exercise.judge(exercise.reference)
    assert verdict.status == "right", verdict.message


@pytest.mark.parametrize("exercise, said", MISTAKES, ids=lambda value: str(getattr(value, "name", value))[:50])
def test_each_mistake_fails_and_is_named(exercise, said):
    verdict = verdict_on(exercise.name, said)
    assert verdict.status == "wrong" and said in verdict.message, verdict.message


def test_no_two_mistakes_share_a_message():
    messages = [verdict_on(exercise.name, said).message for exercise, said in MISTAKES]
    assert len(set(messages)) == len(messages) and len({said for _, said in MISTAKES}) == len(MISTAKES)


@pytest.mark.parametrize("exercise", checks.EXERCISES.values(), ids=lambda e: e.name)
def test_the_inputs_differ_in_shape_and_are_not_square(exercise):
    assert len(exercise.cases) >= 3 and all(list(c) == list(exercise.cases[0]) for c in exercise.cases)
    described = [checks.ladder.describe(case) for case in exercise.cases]
    assert len(set(described)) == len(described)


@pytest.mark.parametrize("exercise", checks.EXERCISES.values(), ids=lambda e: e.name)
def test_a_stub_says_not_yet(exercise, capsys):
    def stub(*given): ...

    def refuses(*given):
        raise NotImplementedError

    for unanswered in (stub, refuses):
        exercise(unanswered)
        assert capsys.readouterr().out.startswith(f"· {exercise.name}: not yet")


@pytest.mark.parametrize("exercise", checks.EXERCISES.values(), ids=lambda e: e.name)
def test_what_is_printed_fits_the_page(exercise, capsys, monkeypatch):
    """JupyterLab cuts a long line anywhere, within a word too."""
    verdicts = {mistaken: verdict_on(exercise.name, said) for said, mistaken in exercise.mistakes.items()}
    monkeypatch.setattr(checks.ladder.Exercise, "judge", lambda self, work: verdicts[work])
    for mistaken, verdict in verdicts.items():
        exercise(mistaken)
        printed, message = capsys.readouterr().out, verdict.message
        assert max(map(len, printed.splitlines())) <= 88 and printed.split() == message.split()


@pytest.mark.parametrize("exercise", checks.EXERCISES.values(), ids=lambda e: e.name)
def test_an_exception_is_the_learners_own_with_its_line(exercise):
    def broken(*given):
        return {}["what I forgot"]

    message = exercise.judge(broken).message
    assert "Your code raised KeyError" in message and "in broken, line" in message and '{}["what I forgot"]' in message


def test_other_faults_are_named():
    def says(work):
        return checks.rms_norm.judge(work).message

    assert "itself, found a value of type int" in says(3)
    assert "It returned None" in says(print), "a function without a body of its own to look at"
    assert "returned 'text'" in says(lambda x, w, e: "text")
    assert "expected (..., D) = (2, 3, 8), found (2, 3)" in says(lambda x, w, e: x[..., 0])
    assert "returned 2 results, expected 1" in says(lambda x, w, e: (x, x))
    assert "dtype float64, expected float32" in says(lambda x, w, e: x.double())
    assert "Every number is 0.01 larger" in says(lambda x, w, e: rms_norm(x, w, e) + 0.01)
    unknown = says(lambda x, w, e: rms_norm(x, w, e) * (1 + 0.01 * (w * 9).sin() * (x.sign())))
    assert "Found " in unknown and "at [0, 0, 0]" in unknown and unknown.count("\n") == 1, unknown

    def in_place(x, w, e):
        result = rms_norm(x, w, e)
        x.zero_()
        return result

    assert "changed its input x in place" in says(in_place)


def test_a_difference_in_the_last_digits_passes_and_a_visible_one_does_not():
    assert checks.rms_norm.judge(lambda x, w, e: rms_norm(x, w, e) * (1 + 1e-9)).passed
    assert not checks.rms_norm.judge(lambda x, w, e: rms_norm(x, w, e) * (1 + 1e-4)).passed


def test_a_pass_is_kept_only_for_the_learners_own_work(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "FILE", tmp_path / "progress.json")
    checks.rms_norm(rms_norm)
    assert not progress.FILE.exists()
    namespace = {"__name__": "__main__", "torch": torch, "rms_norm": rms_norm}
    exec("def mine(x, weight, eps):\n    return rms_norm(x, weight, eps)", namespace)
    checks.rms_norm(namespace["mine"])
    assert "rms_norm" in progress.read()["work"]


def solutions():
    """The code of every folded solution in the lessons that defines a my_…, with the solutions before it."""
    for path in sorted(LESSONS.glob("*.ipynb")):
        before = ""
        for cell in nbformat.read(path, as_version=4).cells:
            for text in re.findall(r"<summary>Solution</summary>.*?```python\n(.*?)```", cell.source, re.S):
                if re.search(r"^(def|class) [Mm]y", text, re.M):
                    yield pytest.param(path, text, before, id=f"{path.stem}: {text.split('(')[0]}")
                    before += text


@pytest.mark.parametrize("path, text, before", list(solutions()))
def test_each_solution_passes_its_check(path, text, before):
    """The solution runs with what its lesson imports and what the learner wrote earlier in it, and passes the check
    that the lesson gives to that name."""
    import foundry_lib

    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    namespace = {name: getattr(foundry_lib, name) for name in foundry_lib.__all__}
    exec("import math, torch\nimport torch.nn.functional as F\nfrom torch import Tensor, nn", namespace)
    name = re.search(r"^(?:def|class) (\w+)", text, re.M)[1]
    exec(before, namespace)
    exec(text, namespace)
    calls = [call for c in cells for call in re.findall(rf"checks\.(\w+)\({name}\)", c.source)]
    assert calls, f"no cell of {path.stem} checks {name}"
    for call in calls:
        verdict = checks.EXERCISES[call].judge(namespace[name])
        assert verdict.passed, verdict.message


def test_a_forgotten_return_is_no_stub():
    def forgotten(x, weight, eps):
        result = rms_norm(x, weight, eps)
        print(result.shape)

    verdict = checks.rms_norm.judge(forgotten)
    assert verdict.status == "wrong" and "It returned None. Is there a `return`" in verdict.message


def test_a_mistake_is_named_in_the_inputs_own_precision_too():
    """The bank computes in 32 bits at least; a beginner does not, and makes the same mistakes."""
    summed = checks.rms_norm.judge(lambda x, w, e: x / (x.pow(2).sum(-1, keepdim=True) + e).sqrt() * w).message
    assert "the squares were summed" in summed
    centred = checks.rms_norm.judge(lambda x, w, e: rms_norm(x - x.mean(-1, keepdim=True), w, e)).message
    assert "The mean was taken away first" in centred


@pytest.mark.parametrize("path", sorted(LESSONS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_mistake_that_a_lesson_shows_is_named(path):
    for cell in nbformat.read(path, as_version=4).cells:
        text = "".join(output.get("text", "") for output in cell.get("outputs", []))
        for name, said in re.findall(r"^✗ (\w+)(.*?)(?=^[✗✓·]|\Z)", text, re.M | re.S):
            if name not in checks.EXERCISES:  # a plan of lesson 09 is checked too
                continue
            known = [*checks.EXERCISES[name].mistakes, "no line above it makes"]  # the second: lines in order
            said = " ".join(said.split())  # it is printed in lines
            assert any(message in said for message in known), f"{path.stem}: {said}"


def test_an_error_inside_torch_is_told_with_the_learners_line():
    def mixed_up(x, weight, eps):
        return torch.nn.Linear(3, 4)(x) + "text"

    message = checks.rms_norm.judge(mixed_up).message
    assert "in mixed_up, line" in message and "torch.nn.Linear(3, 4)(x)" in message


def test_a_difference_is_said_with_the_value_it_is_in():
    by_hand = checks.train_step.reference

    def off(model, optimizer, *given):
        loss = by_hand(model, optimizer, *given)
        next(model.parameters()).data += 0.1
        return loss

    def loss_alone(model, optimizer, x, *given):
        return by_hand(model, optimizer, x, *given) + 0.1

    message = checks.train_step.judge(loss_alone).message
    assert "with 3 updates, each x (2, 4), y (2, 4), lrs" in message and "as the loss of update 1, expected" in message
    assert "as the loss of update 2, expected" in checks.train_step.judge(off).message

    def weights_alone(model, optimizer, *given):
        loss = checks.accumulation.reference(model, optimizer, *given)
        model.output.weight.data += 0.1 if next(calls) else 0.0
        return loss

    calls = itertools.cycle((False, True))  # two updates: the second one leaves the weights wrong
    message = checks.accumulation.judge(weights_alone).message
    assert "with 2 updates, each x (4, 3)" in message and "in the second matrix after the last update" in message
    said = checks.verdict.judge(lambda *given: (checks.verdict.reference(*given)[0] + 1, True)).message
    assert "as the first returned value, expected" in said
    assert checks.ladder.ordinal(2) == "second" and checks.ladder.ordinal(12) == "12th"


def test_a_step_may_ask_the_model_for_its_loss_alone():
    """As the library's own step does, which lesson 07 shows behind the check."""

    def step(model, optimizer, x, y, lr, grad_clip):
        for group in optimizer.param_groups:
            group["lr"] = lr
        loss = model.loss(x, y)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
        optimizer.step()
        return loss.item()

    assert checks.train_step.judge(step).passed, checks.train_step.judge(step).message


def my_accumulate(cut, whole_loss=False):
    """As a learner writes it, with cut(x, parts) for the pieces."""

    def accumulate(model, optimizer, x, y, parts):
        optimizer.zero_grad()
        total = 0.0
        for xs, ys in zip(cut(x, parts), cut(y, parts), strict=True):
            loss = model(xs, ys)[1] * len(xs) / len(x)
            loss.backward()
            total = total + loss  # the tensor itself: backward has let go of what it needed
        loss = model(x, y)[1] if whole_loss else total
        optimizer.step()
        return loss.item()

    return accumulate


def with_the_rest_at_the_end(x, parts):
    size = len(x) // parts
    return [*x.split(size)[: parts - 1], x[size * (parts - 1) :]]


@pytest.mark.parametrize(
    "cut",
    [
        torch.chunk,
        torch.tensor_split,
        with_the_rest_at_the_end,
        lambda x, parts: x.split(len(x) // parts),  # a piece more where there is a rest
        lambda x, parts: [x[first::parts] for first in range(parts)],
    ],
)
def test_a_large_batch_may_be_cut_in_any_way_that_saves_memory(cut):
    assert checks.accumulation.judge(my_accumulate(cut)).passed, checks.accumulation.judge(my_accumulate(cut)).message


def test_pieces_that_save_no_memory_are_told_so():
    def says(work):
        return checks.accumulation.judge(work).message

    def all_then_backward(model, optimizer, x, y, parts):
        optimizer.zero_grad()
        pieces = zip(x.chunk(parts), y.chunk(parts), strict=True)
        losses = [model(*piece)[1] * len(piece[0]) / len(x) for piece in pieces]
        for loss in losses:
            loss.backward()
        optimizer.step()
        return sum(losses).item()

    assert "in memory at the same time" in says(all_then_backward)
    assert "read in one call" in says(my_accumulate(torch.chunk, whole_loss=True))
    assert "x (8, 3), y (8, 3), parts 4" in says(my_accumulate(torch.split))


def in_32_bits(part):
    return lambda x, *given: part(x.float(), *given).type_as(x)


def test_lost_digits_are_told_in_whichever_form_they_were_lost():
    def normed(x, weight, eps):
        return weight * (x.float() / torch.sqrt((x.float() ** 2).mean(-1, keepdim=True) + eps)).to(x.dtype)

    def turned(x, table):
        a, b = x.chunk(2, dim=-1)
        return torch.cat((a * table[0] - b * table[1], a * table[1] + b * table[0]), dim=-1)

    def both(one):
        return lambda q, k, freqs: (one(q, freqs), one(k, freqs))

    for check, right, wrong in (
        (checks.rms_norm, rms_norm, normed),
        (checks.rotate, turned, in_32_bits(turned)),
        (checks.rotary, both(turned), both(in_32_bits(turned))),
    ):
        assert check.judge(right).passed, check.judge(right).message
        message = check.judge(wrong).message
        assert "a 64-bit input was squeezed into 32" in message and "float64" in message, message


def test_a_slip_is_named_for_whichever_number_stands_in_it():
    def says(check, work):
        return checks.EXERCISES[check].judge(work).message

    for tiny in (1e-4, 1e-8):
        assert "divided by something tiny" in says("temperature", lambda logits, t, tiny=tiny: logits / (t + tiny))
    for rounded in (0.69, 0.693, 0.6931, 1 / 1.44, 1 / 1.443):
        rounded_units = lambda losses, n, ln2=rounded: (losses.mean().exp(), losses.sum() / ln2 / n)  # noqa: E731
        assert "ln 2 was rounded" in says("loss_units", rounded_units)


def test_two_pairs_back_to_back_in_a_text():
    def replaced(ids, pair, new):
        text = f" {' '.join(map(str, ids))} ".replace(f" {pair[0]} {pair[1]} ", f" {new} ")
        return [int(token) for token in text.split()]

    assert "Of two pairs back to back the second was not merged" in checks.merge.judge(replaced).message


def test_how_close_is_close_enough():
    """A tolerance ten times as wide would let each of these pass."""
    near = checks.ladder.near
    one, half = torch.ones(3), torch.ones(3, dtype=torch.float16)
    assert near(one + 5e-6, one).all() and not near(one + 1e-4, one).any()
    assert near(half + 3e-3, half).all() and not near(half + 4e-2, half).any()
    small = torch.full((3,), 1e-2)
    assert not near(small + 1e-6, small).any(), "measured against the largest value, not against 1"
    assert checks.ladder.spelled(7145728.0) == "7,145,728" and checks.ladder.spelled(0.1234567) == "0.12346"
    count = checks.count_parameters
    assert not count.judge(lambda *given: count.reference(*given) + 1).passed


def checked_in_a_cell(check, text: str, tmp_path, **names):
    """Run a cell that defines `mine` among these names of the notebook, and check it."""
    file = tmp_path / "cell.py"
    file.write_text(text, encoding="utf-8")
    namespace = {"__name__": "__main__", **names}
    exec(compile(text, str(file), "exec"), namespace)
    check(namespace["mine"])


def test_work_is_stored_with_what_it_uses_of_its_notebook(tmp_path, monkeypatch, capsys):
    """Lesson 03 imports inf and causal_mask, and its learners use them, and helpers of their own."""
    monkeypatch.setattr(progress, "FILE", tmp_path / "progress.json")
    text = (
        "from math import inf\nfrom foundry_lib.models.attention import causal_mask as mask\n"
        "import torch.nn.functional as G\n"
        "power = 0.5\ndef scaled(q, k):\n    return q @ k.mT / root(q.shape[-1])\n"
        "def square_root(n):\n    return n**power\nroot = square_root\n"
        "def mine(q, k, v):\n"
        "    k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))\n"
        "    scores = scaled(q, k).masked_fill(~mask(q.shape[2], k.shape[2], q.device), -inf)\n"
        "    return G.softmax(scores, -1) @ v\n"
    )
    checked_in_a_cell(checks.gqa, text, tmp_path, power=0.5)
    assert capsys.readouterr().out.count("\n") == 2, "the verdict, and that it is the learner's now"
    work = progress.own_work("gqa")
    assert work.__name__ == "mine" and checks.gqa.judge(work).passed
    assert set(work.__globals__) >= {"inf", "mask", "G", "power", "root", "square_root", "scaled"}


def test_work_that_leans_on_a_value_of_its_notebook_is_told_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "FILE", tmp_path / "progress.json")
    text = "def mine(x, weight, eps):\n    return norm(x, weight, eps) + zero\n"
    checked_in_a_cell(checks.rms_norm, text, tmp_path, norm=rms_norm, zero=torch.zeros(()))
    out = " ".join(capsys.readouterr().out.split())
    assert "run it from its stored text, and there it fails" in out and "NameError: name 'zero' is not defined" in out
    assert "It uses zero of this notebook. Pass it in, or make it inside." in out and "norm of" not in out


@pytest.mark.parametrize("part", [True, False])
def test_only_a_part_has_to_run_from_its_text(part, tmp_path, monkeypatch, capsys):
    """Lesson 06's first hint is a Counter of another cell; no later lesson runs what is made there."""
    monkeypatch.setattr(progress, "FILE", tmp_path / "progress.json")
    check = checks.rms_norm if part else checks.most_common_pair
    text = "helper(*given)" if part else "Most(zip(given[0], given[0][1:])).most_common(1)[0][0]"
    helper, most = (lambda *given: rms_norm(*given)), (lambda pairs: Counter(pairs))
    checked_in_a_cell(check, f"def mine(*given):\n    return {text}\n", tmp_path, helper=helper, Most=most)
    out = capsys.readouterr().out
    assert out.startswith("✓") and ("✗" in out) == ("stored text" in out) == part
    assert check.name in progress.read()["work"]
    check(eval(f"lambda *given: {text}", {"__name__": "__main__", "helper": helper, "Most": most}))
    assert ("your model" in capsys.readouterr().out) == part


def test_a_check_that_passes_switches_the_part_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "FILE", tmp_path / "progress.json")
    progress.switch_off("rms_norm")
    checked_in_a_cell(checks.rms_norm, "def mine(x, w, eps):\n    return norm(x, w, eps)\n", tmp_path, norm=rms_norm)
    assert not progress.read()["off"]["rms_norm"]


def test_a_block_of_another_norm_is_found_out():
    from foundry_lib import Block, RMSNorm

    class Stubborn(Block):
        def __init__(self, config, layer=0, norm=None, attention=None, feed_forward=None):
            super().__init__(config, layer, RMSNorm, attention, feed_forward)

    assert checks.block.judge(Block).passed and not checks.block.judge(Stubborn).passed


def test_a_class_for_a_function_and_the_other_way_round():
    from foundry_lib import RMSNorm

    assert "Hand over the function itself, found the class RMSNorm" in checks.rms_norm.judge(RMSNorm).message
    assert "Hand over the class itself, found one object of class RMSNorm" in checks.block.judge(RMSNorm(4)).message


def test_a_block_that_builds_parts_of_its_own_is_told_so():
    from foundry_lib import Block, CausalSelfAttention

    class Own(Block):
        def __init__(self, config, layer=0, norm=None, attention=None, feed_forward=None):
            super().__init__(config, layer, norm, CausalSelfAttention, feed_forward)

    assert "a block builds its parts with what it is given" in checks.block.judge(Own).message


def test_numbers_and_arrays_of_numpy_count_as_those_of_torch():
    def my_verdict(base, other, border):
        parts = [np.var(values, ddof=1) / len(values) for values in (base, other)]
        t = (np.mean(other) - np.mean(base)) / np.sqrt(sum(parts))
        return t, abs(t) > border

    assert checks.verdict.judge(my_verdict).passed
    assert checks.silu.judge(lambda x: (x / (1 + torch.exp(-x))).numpy()).passed
    assert not checks.silu.judge(lambda x: x.numpy()).passed
    known = checks.cache_bytes.reference
    assert checks.cache_bytes.judge(lambda *values: np.array(known(*values))).passed
    assert "no tensor and no number" in checks.cache_bytes.judge(lambda *values: 10**400).message
    assert "no tensor and no number" in checks.silu.judge(lambda x: np.array(["a"])).message


def test_one_thing_in_a_tuple_is_said_before_anything_else():
    for exercise, work in (
        (checks.rms_norm, lambda *given: (checks.rms_norm.reference(*given),)),
        (checks.swiglu, lambda *given: (checks.swiglu.reference(*given),)),
        (checks.silu, lambda x: (checks.silu.reference(x),)),
    ):
        message = exercise.judge(work).message
        assert "a tuple with one thing in it, expected the thing itself. Is there a comma" in message, message
    assert "a list with one thing in it" in checks.silu.judge(lambda x: [checks.silu.reference(x)]).message


def test_work_that_raises_in_a_property_is_told_so():
    def my_silu(x):
        if x.dim() == 1 and len(x) == 77:
            raise RuntimeError("only for 77")
        return checks.silu.reference(x)

    odd = replace(checks.silu, properties={"Something holds.": lambda work, case: work(torch.zeros(77)).sum() == 0})
    assert "only for 77" in odd.judge(my_silu).message and "Something holds" not in odd.judge(my_silu).message


def test_what_is_no_value_is_named_by_place_and_kind():
    def with_none(q, k, v):
        return checks.attention.reference(q, k, v)[0], None

    assert "The second thing that it returned is None" in checks.attention.judge(with_none).message
    assert "a value of type dict" in checks.silu.judge(lambda x: {"a long name for a result": x.tolist() * 9}).message


def test_the_line_that_is_shown_is_the_learners_own():
    def my_most_common_pair(ids):
        return Counter([[a, b] for a, b in itertools.pairwise(ids)]).most_common(1)[0][0]

    message = " ".join(checks.most_common_pair.judge(my_most_common_pair).message.split())
    assert "in my_most_common_pair, line" in message and "return Counter([[a, b]" in message


def test_work_that_fails_alone_leaves_what_passed_before(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(progress, "FILE", tmp_path / "progress.json")
    good = "def my_rms_norm(x, weight, eps):\n    return rms_norm(x, weight, eps)\n"
    progress.keep("work", "rms_norm", good)

    text = "def mine(x, weight, eps):\n    return norm(x, weight, eps) + zero\n"
    checked_in_a_cell(checks.rms_norm, text, tmp_path, norm=rms_norm, zero=torch.zeros(()))
    out = " ".join(capsys.readouterr().out.split())
    assert "✓ rms_norm" in out and "there it fails" in out and "The work that passed before stays stored." in out
    assert "return norm(x, weight, eps) + zero" in out
    assert progress.read()["work"]["rms_norm"] == good


def test_the_readme_counts_the_mistakes():
    readme = (LESSONS.parent / "README.md").read_text(encoding="utf-8")
    assert f"known mistakes, {len(MISTAKES)} in all" in " ".join(readme.split())
    assert len(MISTAKES) >= 60 and not re.search(r"\| T\d\d \|", readme), "no time left open"


def test_a_mistake_is_a_function_whose_docstring_is_its_message():
    exercise = replace(checks.silu, mistakes={})

    @exercise.mistake
    def folded_message(x):
        """A message that stands
        in two lines."""
        return 2 * x

    @exercise.mistake("A message that a property has too.")
    def named_message(x):
        return 3 * x

    wanted = {
        "A message that stands in two lines.": folded_message,
        "A message that a property has too.": named_message,
    }
    assert list(exercise.mistakes.items()) == list(wanted.items()), "in the order of the file"
    assert "A message that stands in two lines." in exercise.judge(lambda x: x + x).message

    def without(x):
        return x

    def twice(x):
        """A message that stands in two lines."""

    for work in (without, twice):
        with pytest.raises(ValueError, match=f"silu: {work.__name__} needs a docstring that no other mistake has"):
            exercise.mistake(work)


def test_the_bank_does_not_show_its_own_names():
    for exercise, said in MISTAKES:
        mistaken = exercise.mistakes[said]
        name = mistaken.__name__
        assert name not in ("<lambda>", "mistake") and mistaken.__module__.startswith("foundry_lib.")
        message = verdict_on(exercise.name, said).message
        assert name not in message and "<locals>" not in message, message


def test_each_exercise_of_the_package_is_registered_under_its_own_name():
    assert len(checks.EXERCISES) >= 32
    for name, exercise in checks.EXERCISES.items():
        assert exercise.name == name and getattr(checks, name) is exercise and name in checks.__all__


def my_train_step(backward):
    def step(model, optimizer, x, y, lr, grad_clip):
        for group in optimizer.param_groups:
            group["lr"] = lr
        logits, loss = model(x, y)
        backward(logits, loss, optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
        return loss.item()

    return step


@pytest.mark.parametrize(
    "backward",
    [
        lambda logits, loss, optimizer: logits.backward(),
        lambda logits, loss, optimizer: loss.detach().backward(),
        lambda logits, loss, optimizer: (loss.backward(), loss.backward()),
    ],
    ids=["of the logits", "of a detached loss", "twice"],
)
def test_an_error_of_its_own_is_not_taken_for_a_known_mistake(backward):
    message = checks.train_step.judge(my_train_step(backward)).message
    assert "Your code raised RuntimeError" in message and "In which order do backward and step come?" not in message


def test_a_mistake_that_raises_on_every_input_is_named_by_its_error():
    def step_first(logits, loss, optimizer):
        optimizer.step()
        optimizer.zero_grad()
        loss.backward()

    assert "In which order do backward and step come?" in checks.train_step.judge(my_train_step(step_first)).message


@pytest.mark.parametrize(
    "widened", [lambda x: x, lambda x: x.to(torch.promote_types(x.dtype, torch.float32)), lambda x: x.float()]
)
def test_eps_outside_the_root_is_not_called_a_loss_of_digits(widened):
    def my_rms_norm(x, weight, eps):
        wide = widened(x)
        return (wide / (wide.pow(2).mean(-1, keepdim=True).sqrt() + eps)).to(x.dtype) * weight

    message = checks.rms_norm.judge(my_rms_norm).message
    assert "eps is added outside the root" in message and "squeezed into 32" not in message, message


def test_no_address_in_memory_is_shown():
    message = checks.merge.judge(lambda ids, pair, new: map(int, ids)).message
    assert "a value of type map" in message and " at 0x" not in message


def test_a_pair_does_not_run_from_the_end_to_the_beginning():
    def around(ids):
        return Counter(zip(ids, ids[1:] + ids[:1], strict=True)).most_common(1)[0][0]

    assert not checks.most_common_pair.judge(around).passed


def test_a_loss_of_a_confident_wrong_guess_is_finite():
    def underflowing(logits, y):
        kept = y != -100
        return -logits[kept].softmax(-1).log().gather(-1, y[kept][:, None]).mean()

    assert not checks.mean_loss.judge(underflowing).passed
    assert checks.mean_loss.judge(lambda logits, y: torch.nn.functional.cross_entropy(logits.mT, y)).passed


def test_a_softmax_does_not_overflow():
    def shares(scores):
        exponentials = scores.exp() * torch.ones(scores.shape[-2:]).tril(scores.shape[-1] - scores.shape[-2])
        return exponentials / exponentials.sum(-1, keepdim=True)

    def my_attention(q, k, v):
        weights = shares(q @ k.mT / q.shape[-1] ** 0.5)
        return weights @ v, weights

    def my_gqa(q, k, v):
        k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
        return my_attention(q, k, v)[0]

    for verdict in (checks.attention.judge(my_attention), checks.gqa.judge(my_gqa)):
        message = verdict.message
        assert verdict.status == "wrong" and "Found NaN at [0, 0, 0" in message and "Large scores give NaN" in message
