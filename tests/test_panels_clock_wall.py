"""The clock wall and the hands of lesson 02, and that its checks name slips as learners write them."""

import math
import re

import pytest
import torch
from matplotlib.figure import Figure

from foundry_lib import apply_rotary_emb, rope_table, rotate
from foundry_lib.lessons import checks
from foundry_lib.panels import clock_wall as wall
from foundry_lib.panels import hands as clock_hands

PAIRS = wall.HEAD_DIM // 2


def complex_score(m: int, n: int) -> float:
    """The wall's score in another form: the real part of Σ q · conj(k) · e^(i (m − n) speed)."""
    total = 0.0
    q, k = (word.tolist() for word in wall.query_and_key())
    for i in range(PAIRS):
        a, b = complex(q[i], q[i + PAIRS]), complex(k[i], k[i + PAIRS])
        speed = wall.BASE ** (-2 * i / wall.HEAD_DIM)
        total += (a * b.conjugate() * complex(math.cos((m - n) * speed), math.sin((m - n) * speed))).real
    return total


@pytest.mark.parametrize("m, n, shift", [(12, 5, 0), (0, 0, 0), (100, 3, 200), (4, 90, 17)])
def test_the_wall_tells_the_score_of_the_formula(m, n, shift):
    reading = wall.Wall().draw(Figure(), m=m, n=n, shift=shift)
    assert f"Query at {m + shift}, key at {n + shift}, distance {m - n}: score {complex_score(m, n):.3f}." in reading
    assert "at most 0.00000." in reading


def test_both_hands_move_and_their_angle_stays():
    def angles(**places):
        figure = Figure()
        wall.Wall().draw(figure, **places)
        keys, queries = (hands.get_segments() for hands in figure.axes[0].collections[1:])
        both = [segment for pair in zip(keys, queries, strict=True) for segment in pair]
        return [math.atan2(*(end - start)[::-1]) for start, end in both]  # key and query of pair 0, of pair 1, …

    before, after = angles(m=12, n=5), angles(m=12, n=5, shift=50)
    assert len(before) == 2 * PAIRS
    moved = [abs(math.remainder(b - a, 2 * math.pi)) for a, b in zip(before, after, strict=True)]
    between = [
        [math.remainder(q - k, 2 * math.pi) for k, q in zip(w[::2], w[1::2], strict=True)] for w in (before, after)
    ]
    assert min(moved) > 1e-3 and max(moved) > 1
    assert between[0] == pytest.approx(between[1], abs=1e-9)
    assert between[0][0] == pytest.approx(math.remainder(7.0, 2 * math.pi))  # pair 0: a radian a place


def test_a_wedge_reaches_from_the_key_to_the_query():
    figure = Figure()
    wall.Wall().draw(figure, m=12, n=5, shift=3)
    wedges, keys, queries = figure.axes[0].collections
    for path, *hands in zip(wedges.get_paths(), keys.get_segments(), queries.get_segments(), strict=True):
        centre, ends = path.vertices[0], path.vertices[[1, 9]]
        for end, hand in zip(ends, hands, strict=True):
            assert math.atan2(*(end - centre)[::-1]) == pytest.approx(math.atan2(*(hand[1] - hand[0])[::-1]))


def test_equal_distances_have_equal_scores_only_with_rope():
    grid = wall.score_grid("rope", 40)
    assert wall.diagonal_spread(grid) < 1e-9 and (grid.max() - grid.min()) > 1
    assert grid[9, 4].item() == pytest.approx(complex_score(9, 4))
    for kind in ("learned", "sinusoidal"):
        assert wall.diagonal_spread(wall.score_grid(kind, 40)) > 5
    table = wall.with_sinusoids()[0] - wall.query_and_key()[0]
    assert wall.diagonal_spread(table[:40] @ table[:40].T) < 1e-5, "the sinusoids' own products see the distance only"
    assert wall.diagonal_spread(torch.tensor([[1.0, 5.0], [0.0, 3.5]])) == 2.5


def test_a_broken_table_would_be_seen(monkeypatch):
    """The flat line is measured and not drawn flat: turn the keys backwards and it waves."""
    table = rope_table(wall.HEAD_DIM, wall.POSITIONS).double()
    q, k = (word.expand(wall.POSITIONS, -1) for word in wall.query_and_key())
    backwards = torch.stack((table[0], -table[1]))
    monkeypatch.setattr(wall, "score_grid", wall.score_grid.__wrapped__)  # nothing kept from the right table
    monkeypatch.setitem(wall.KINDS, "rope", lambda: (rotate(q, table), rotate(k, backwards)))
    found = re.search(r"at most ([\d.]+)\.$", wall.Wall().draw(Figure()))
    assert float(found[1]) > 1


def test_the_hands_are_counted():
    reading = clock_hands.Hands().draw(Figure(), base=10.0, context=512)
    slowest = 512 * 10 ** (-14 / 16) / (2 * math.pi)
    assert f"8 of 8 hands go round. The slowest makes {slowest:.3g} turns" in reading
    assert "needs 47 positions for one" in reading
    assert "5 of 8" in clock_hands.Hands().draw(Figure(), base=500.0, context=256)
    assert clock_hands.turns(10000.0, 512)[0].item() == pytest.approx(512 / (2 * math.pi))


def test_the_bases_of_real_models_are_counted():
    assert "Llama 2         10,000           4,096        54,410             46 of 64" in clock_hands.bases_table()


@pytest.mark.parametrize("panel, control, value", [("clock_wall", "shift", 90), ("clock_wall", "m", 40),
                                                   ("clock_wall", "n", 40), ("hands", "base", 50.0),
                                                   ("hands", "context", 2048)])  # fmt: skip
def test_each_control_changes_picture_and_reading(panel, control, value):
    one = getattr(wall if panel == "clock_wall" else clock_hands, panel)()
    picture, reading = bytes(one.live.value), one.reading
    one.controls[control].value = value
    assert bytes(one.live.value) != picture and one.reading != reading
    assert len(one.controls) <= 3 and one.live.seconds_to_draw < 1.0, "0.2 s on a free machine"


def test_the_sliders_ends_stay_on_the_wall():
    one = wall.clock_wall()
    for ends in ({"m": 100, "n": 0, "shift": wall.SHIFTS}, {"m": 0, "n": 100, "shift": wall.SHIFTS}):
        one.set(**ends)
        assert f"Query at {ends['m'] + 200}, key at {ends['n'] + 200}" in one.reading
    assert one.controls["m"].max + 2 * wall.SHIFTS >= wall.POSITIONS  # a move past the wall is refused in words:
    with pytest.raises(ValueError, match="positions 0 to 300, found the query at 301"):
        wall.Wall().draw(Figure(), m=301)


# ---- The checks of lesson 02


def test_the_librarys_own_parts_pass():
    assert checks.rotate.judge(rotate).passed and checks.rotary.judge(apply_rotary_emb).passed
    assert checks.rope_table.judge(rope_table).passed


def slow_table(head_dim, length, theta):
    speed = 1.0 / theta ** (torch.arange(head_dim // 2) / head_dim)
    angle = torch.outer(torch.arange(length), speed)
    return torch.stack((angle.cos(), angle.sin()))


def growing_table(head_dim, length, theta):
    angle = torch.arange(length)[:, None] * theta ** (torch.arange(0, head_dim, 2) / head_dim)
    return torch.stack((torch.cos(angle), torch.sin(angle)))


def degrees_table(head_dim, length, theta):
    angle = torch.outer(torch.arange(length), theta ** (-torch.arange(0, head_dim, 2) / head_dim))
    return torch.stack((torch.cos(torch.deg2rad(angle)), torch.sin(torch.deg2rad(angle))))


def from_one(head_dim, length, theta):
    return rope_table(head_dim, length + 1, theta)[:, 1:]


def neighbours(x, table):
    cos, sin = table
    a, b = x[..., ::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, b * cos + a * sin), dim=-1).flatten(-2)


def heads_as_places(x, table):
    cos, sin = table[:, : x.shape[1], None]
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


@pytest.mark.parametrize(
    "exercise, work, said",
    [
        ("rope_table", slow_table, "fall half as fast"),
        ("rope_table", growing_table, "faster and faster"),
        ("rope_table", degrees_table, "degrees and made much smaller"),
        ("rope_table", from_one, "one position ahead"),
        ("rotate", neighbours, "Neighbours were paired"),
        ("rotate", heads_as_places, "depends on the head"),
        ("rotary", lambda q, k, t: (rotate(q, t), k.clone()), "keys come back as they went in"),
    ],
)
def test_slips_as_learners_write_them_are_named(exercise, work, said):
    verdict = checks.EXERCISES[exercise].judge(work)
    assert verdict.status == "wrong" and said in verdict.message, verdict.message


def test_scores_that_see_the_sum_fail_by_the_property():
    """Work that no mistake of the bank equals still fails the shift experiment."""
    verdict = checks.rotary.judge(lambda q, k, t: (rotate(q, t), 2 * rotate(k, torch.stack((t[0], -t[1])))))
    assert "Both 7 positions later, and the score differs" in verdict.message
    assert "another length" in checks.rotate.judge(lambda x, table: 1.01 * rotate(x, table)).message
