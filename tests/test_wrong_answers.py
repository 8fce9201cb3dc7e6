"""What wrong answers are told that no known mistake was written for, and that unusual right answers pass."""

import warnings

import more_wrong_answers
import pytest
import torch
import wrong_answers
from wrong_answers import RIGHT, WRONG

from foundry_lib.lessons import checks
from foundry_lib.lessons.checks.patterns import pattern
from foundry_lib.lessons.checks.torch_errors import torch_error_in_words

CAUSES = wrong_answers.CAUSES | more_wrong_answers.CAUSES


def name(value):
    return value if isinstance(value, str) else value.__name__


@pytest.mark.parametrize("exercise, work", WRONG, ids=name)
def test_a_wrong_answer_is_told_its_cause_and_no_other(exercise, work):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        verdict = checks.EXERCISES[exercise].judge(work)
    mistakes = checks.EXERCISES[exercise].mistakes
    named, cause = [m.__name__ for said, m in mistakes.items() if said in verdict.message], CAUSES[work.__name__]
    assert verdict.status == "wrong"
    if cause in {mistaken.__name__ for mistaken in mistakes.values()}:
        assert named == [cause], verdict.message
    else:
        assert not named and (cause or "Found ") in verdict.message, verdict.message


@pytest.mark.parametrize("exercise, work", RIGHT, ids=name)
def test_an_unusual_right_answer_passes(exercise, work):
    verdict = checks.EXERCISES[exercise].judge(work)
    assert verdict.passed, verdict.message


def test_how_many_are_told_their_cause():
    told = sum(CAUSES[work.__name__] is not None for _, work in WRONG)
    assert len(WRONG) >= 370 and len(RIGHT) >= 70 and set(CAUSES) == {work.__name__ for _, work in WRONG}
    assert told >= 0.85 * len(WRONG)


@pytest.mark.parametrize(
    "line, words",
    [
        (lambda: torch.zeros(2, 8) + torch.zeros(2), "one has the size 8 (D) and the other 2"),
        (lambda: torch.zeros(6, 8) @ torch.zeros(6, 8), "Here a ends with 8 (D) and b has 6"),
        (lambda: torch.zeros(2, 5, 8) @ torch.zeros(2, 5, 8), "Here a ends with 8 (D) and b has 5"),
        (lambda: torch.zeros(2, 3).sum(2), "There is no axis 2: this tensor has 2 axes"),
        (lambda: torch.zeros(2, 3)[:, 7], "The index 7 does not exist on axis 1, which has 3 positions"),
        (lambda: torch.zeros(3).topk(5), "`topk` was asked for more numbers"),
        (lambda: torch.zeros(6).view(4, 2), "A tensor of 6 numbers cannot take the shape (4, 2)"),
        (lambda: torch.cat((torch.zeros(2, 3), torch.zeros(2, 4))), "joined along axis 0"),
        (lambda: torch.stack((torch.zeros(3), torch.zeros(4))), "`stack` takes tensors of one shape"),
        (lambda: torch.zeros(3).item(), "`item()` takes a tensor of one number"),
        (lambda: bool(torch.zeros(3)), "needs one True or False"),
        (lambda: torch.zeros(2, 2) @ torch.zeros(2, 2).double(), "different dtypes"),
        (lambda: torch.zeros(()).backward(), "no path back to the weights"),
        (lambda: torch.zeros(2, requires_grad=True).backward(), "`backward` starts from one number"),
    ],
)
def test_an_error_of_pytorch_is_said_in_a_sentence(line, words):
    with pytest.raises((RuntimeError, IndexError)) as error:
        line()
    sentence = torch_error_in_words(str(error.value), lambda n: {8: "8 (D)"}.get(n, str(n)))
    assert sentence and words in sentence, (str(error.value), sentence)


def test_what_all_wrong_numbers_have_in_common():
    right = [torch.tensor([1.0, 2.0, 4.0]), torch.tensor([[3.0, -1.0], [0.5, 7.0]])]
    says = {
        "Every number is 2.5 times the expected one.": [2.5 * x for x in right],
        "Every number has the opposite sign.": [-x for x in right],
        "Every expected number is 1,000 times the one found.": [x / 1000 for x in right],
        "On each input all numbers are off by one factor; on the first wrong one it is 3.": [
            3 * right[0],
            2 * right[1],
        ],
        "The numbers are right, but they stand at other positions.": [x.flip(-1) for x in right],
        "The numbers are right to two or three digits. Is a number rounded, or a step done in too few bits?": [
            x + 0.002 for x in right
        ],
    }
    for words, found in says.items():
        assert pattern(list(zip(found, right, strict=True))) == words
    assert pattern([(x + 1, x) for x in right]) is None


def test_of_two_mistakes_that_fit_none_is_named():
    """In 32 bits both give one result; only a case in 64 bits, where the learner differs, tells them apart."""
    exercise = checks.silu
    odd = checks.ladder.Exercise("silu", exercise.usage, exercise.cases, exercise.reference, shapes=exercise.shapes)
    for number in (1, 2):

        def doubled(x, number=number):
            return 2 * x + number * (x.dtype == torch.float64)

        doubled.__doc__ = f"Mistake {number}."
        odd.mistake(doubled)
    assert "Mistake 1." in odd.judge(lambda x: 2 * x + 1 * (x.dtype == torch.float64)).message
    assert "Mistake" not in odd.judge(lambda x: 2 * x).message


def test_nan_is_said_before_anything_else():
    def my_attention(q, k, v):
        T = q.shape[2]
        weights = (q @ k.mT / q.shape[-1] ** 0.5 + torch.ones(T, T).triu(1) * -torch.inf).softmax(-1)
        return weights @ v, weights

    lines = checks.attention.judge(my_attention).message.splitlines()
    assert lines[1].startswith("  Found NaN at [0, 0, 0, 0], and in 120 of 120 positions") and "0 · ∞" in lines[1]
    assert "the mask holds 0 at the visible positions" in lines[2]


def test_the_first_wrong_index_has_letters():
    def my_attention(q, k, v):
        mixed, weights = checks.attention.reference(q, k, v)
        mixed[:, :, 2] += 1
        return mixed, weights

    message = checks.attention.judge(my_attention).message
    assert "at [0, 0, 2, 0] of (B, H, T, d) in the first returned value" in message and "only at T = 2" in message
