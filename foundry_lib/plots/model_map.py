"""The map: one drawing of the whole model, from token ids to the next token, with the parameters in every box.

It is drawn from a configuration with the fields of `ModelConfig`. The words on the arrows are shapes; under the drawing
stand the letters with their numbers.
"""

from dataclasses import dataclass, replace

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from .style import BLUE, GREEN, GREY, INK, RED, YELLOW

WIDTH, HEIGHT = 950, 360  # of the drawing, in pixels at 100 dots per inch
WITHOUT_LEGEND = 320
PAPER, YOURS = "#F7F8FA", "#DDF1E6"  # of a box that is not lit: the library's, and the learner's
WORDS = "#404040"  # on the arrows and under the drawing
SIZE = 8  # points, of every text
PARTS = {  # what can be lit or marked, and its name in a sentence
    "ids": "token ids",
    "embedding": "embedding",
    "norm": "norm",
    "projections": "the projections of attention",
    "rope": "RoPE",
    "cache": "KV cache",
    "attention": "attention",
    "sum": "residual sums",
    "widths": "the matrices of the feed-forward",
    "swiglu": "SwiGLU",
    "head": "head",
    "loss": "loss",
    "softmax": "softmax",
    "next": "next token",
}
# Where the lines go, in pixels. The first line of each list is the residual stream.
ARROWS = (
    ((53, 124), (53, 60), (849, 60)),
    ((53, 233), (53, 170)),
    *(((x, 60), (x, 95)) for x in (163, 594)),
    *(((163, 141), (163, y), (183, y)) for y in (180, 222, 264)),
    *(((594, 141), (594, y), (613, y)) for y in (180, 222)),
    *(((253, y), (330, y)) for y in (180, 222)),
    ((253, 264), (395, 264)),
    ((388, 180), (460, 180)),
    ((388, 222), (395, 222)),
    *(((449, y), (460, y)) for y in (222, 264)),
    *(((x, 163), (x, 135)) for x in (502, 781)),
    *(((x, 101), (x, 72)) for x in (502, 781)),
    *(((687, y), (748, y)) for y in (180, 222)),
    ((886, 83), (886, 95)),
    ((886, 141), (886, 158), (850, 158), (850, 173)),
    ((886, 158), (914, 158), (914, 173)),
    ((914, 207), (914, 233)),
)
AGAIN = ((914, 267), (914, 314), (53, 314), (53, 267))  # the next token is read, too
BESIDE = (  # beside a vertical arrow: x, y, the shape, and which end of the text stands there
    (58, 200, "B, T", "left"),
    (58, 112, "B, T, D", "left"),
    *((x + 5, 78, "B, T, D", "left") for x in (163, 594)),
    (507, 149, "B, H, T, d", "left"),
    (507, 87, "B, T, D", "left"),
    (776, 149, "B, T, F", "right"),
    (776, 87, "B, T, D", "right"),
    (891, 149, "B, T, V", "left"),
)
ABOVE = (  # above a horizontal arrow: x and y of the arrow, and the words
    (293, 180, "(B, H, T, d)"),
    (293, 222, "(B, K, T, d)"),
    (293, 264, "(B, K, T, d)"),
    (717, 180, "(B, T, F)"),
    (717, 222, "(B, T, F)"),
    (480, 314, "the next token is appended to the text and read with it"),
)


@dataclass(frozen=True)
class Box:
    """A box of the map: its part, its name, its middle and its size, and the text under its name.

    in_block: the box is there once per layer. shared: its parameters are those of another box.
    """

    part: str
    name: str
    x: float
    y: float
    width: float = 84
    height: float = 34
    params: int = 0
    note: str = ""
    in_block: bool = False
    shared: bool = False

    @property
    def text(self) -> str:
        return self.note or (f"{self.params:,}" if self.params else "")


def boxes(config) -> list[Box]:
    """Every box of the drawing, in the order in which a token passes them. Parameters are those of one layer."""
    D, F, kv_dim = config.dim, config.hidden_dim, config.n_kv_heads * config.head_dim
    table = config.vocab_size * D
    tied = dict(note="tied, shared", shared=True) if config.tie_embeddings else {}
    block = [
        Box("norm", "Norm", 163, 118, 66, 46, D),
        *(Box("projections", f"$W_{row}$", 218, y, 70, params=D * n) for row, y, n in
          (("q", 180, D), ("k", 222, kv_dim), ("v", 264, kv_dim))),
        Box("rope", "RoPE", 359, 201, 58, 76, note="turns\nq and k"),
        Box("cache", "KV\ncache", 422, 243, 54, 76),
        Box("attention", "Attention", 502, 222, 84, 118, note="softmax(\nq kᵀ / √d) v"),
        Box("projections", "$W_o$", 502, 118, params=D * D),
        Box("sum", "+", 502, 60, 24, 24),
        Box("norm", "Norm", 594, 118, 66, 46, D),
        Box("widths", "$W_{gate}$", 650, 180, 74, params=D * F),
        Box("widths", "$W_{up}$", 650, 222, 74, params=D * F),
        Box("swiglu", "SwiGLU", 781, 201, 66, 76, note="silu(gate)\n× up"),
        Box("widths", "$W_{down}$", 781, 118, 66, params=F * D),
        Box("sum", "+", 781, 60, 24, 24),
    ]  # fmt: skip
    return [
        Box("ids", "Token ids", 53, 250),
        Box("embedding", "Embedding", 53, 147, 84, 46, table),
        *(replace(box, in_block=True) for box in block),
        Box("norm", "Norm", 886, 60, 74, 46, D),
        Box("head", "Head", 886, 118, 84, 46, params=table, **tied),
        Box("loss", "Loss", 850, 190, 56),
        Box("softmax", "Softmax", 914, 190, 64),
        Box("next", "Next token", 907, 250, 78),
    ]


def counted(config) -> int:
    """The parameters of all boxes, a block's once per layer; a tied head adds none."""
    return sum(box.params * (config.n_layers if box.in_block else 1) for box in boxes(config) if not box.shared)


def draw_map(axes: Axes, config, lit: tuple[str, ...] = (), own: tuple[str, ...] = (), names_only: bool = False):
    """Draw the map of a model on `axes` of 950 × 360 pixels.

    lit: the PARTS that get a thick frame, a colour and a triangle. own: the PARTS that get a green frame, a check mark
    and the word "yours". names_only: leave out parameters, notes, shapes and the legend; 950 × 160 pixels are enough
    then.
    """
    axes.set(xlim=(0, WIDTH), ylim=(WITHOUT_LEGEND if names_only else HEIGHT, 0))
    axes.axis("off")
    draw_arrows(axes)
    if not names_only:
        draw_words(axes)
        draw_legend(axes, config, bool(lit), bool(own))
    title = f"Block, × {config.n_layers} layer{'s' if config.n_layers > 1 else ''}"
    write(axes, 124, 35, f"{title}  ✓ yours" if "sum" in own else title, weight="bold", color=WORDS, ha="left")
    for box in boxes(config):
        draw_box(axes, box, box.part in lit, box.part in own)
        rows = [(row, dict(weight="bold", color=INK)) for row in box.name.split("\n")]
        if not names_only:
            rows += [(row, dict(color=INK)) for row in box.text.split("\n") if row]
        if box.part in own and box.part != "sum":
            tag = dict(boxstyle="round,pad=0.15", fc=GREEN, ec="none")
            rows.append(("✓ yours", dict(color="white", weight="bold", bbox=tag)))
        for number, (row, look) in enumerate(rows):
            write(axes, box.x, box.y, row, down=9.7 * (number - (len(rows) - 1) / 2), **look)


def write(axes: Axes, x: float, y: float, text: str, down: float = 0, ha: str = "center", **look):
    """A text at x, y and `down` points below it, its middle at that height."""
    style = dict(size=SIZE, family="DejaVu Sans", ha=ha, va="center_baseline", zorder=4, annotation_clip=False)
    axes.annotate(text, (x, y), (0, -down), textcoords="offset points", **style, **look)


def draw_box(axes: Axes, box: Box, lit: bool, own: bool):
    """A box, or the circle of a sum; a lit one has a thick frame, a colour and a triangle, an own one a green frame."""
    look = dict(ec=GREEN, lw=2, fc=YOURS) if own else dict(ec=GREY, lw=1, fc=PAPER)
    if lit:
        look = dict(ec=RED, lw=2.5, fc=YELLOW)
    left, top = box.x - box.width / 2, box.y - box.height / 2
    if box.part == "sum":
        round_look = dict(ms=17, mec=look["ec"], mew=look["lw"], mfc=look["fc"])
        axes.plot(box.x, box.y, "o", zorder=3, **round_look)
    else:
        shape = FancyBboxPatch((left, top), box.width, box.height, boxstyle="round,pad=0,rounding_size=5", **look)
        axes.add_patch(shape).set_zorder(3)
    if lit:
        axes.plot(left, top - 2, "v", ms=7, mfc=RED, mec="white", mew=0.5, zorder=6)


def draw_arrows(axes: Axes):
    """Every arrow, the residual stream, and the frame of the repeated block."""
    frame = FancyBboxPatch((117, 22), 701, 270, boxstyle="round,pad=0,rounding_size=8", fc="none", ec=WORDS, lw=1.2)
    axes.add_patch(frame).set_linestyle((0, (5, 3)))
    for number, points in enumerate((*ARROWS, AGAIN)):
        look = dict(color=BLUE, lw=3) if number == 0 else dict(color=WORDS, lw=1.2)
        dashes = (0, (3, 2)) if points is AGAIN else "-"
        axes.plot(*zip(*points, strict=True), ls=dashes, zorder=2, **look)
        head = dict(arrowstyle="-|>", shrinkA=0, shrinkB=0, mutation_scale=9, **look)
        axes.annotate("", points[-1], points[-2], arrowprops=head, zorder=2)


def draw_words(axes: Axes):
    """The shape at every arrow."""
    for x, y, letters, side in BESIDE:
        write(axes, x, y, f"({letters})", ha=side, color=WORDS)
    for x, y, words in ABOVE:
        write(axes, x, y, words, down=-6.8, color=WORDS)
    write(axes, 380, 60, "residual stream (B, T, D)", down=-8.5, color=BLUE)


def draw_legend(axes: Axes, config, lit: bool, own: bool):
    """The letters with their numbers, the sum of the parameters, and what the marks mean."""
    c = config
    letters = (
        f"B texts · T tokens · D = {c.dim} channels · H = {c.n_heads} query heads · K = {c.n_kv_heads} key/value heads"
    )
    letters += f" · d = {c.head_dim} channels per head · F = {c.hidden_dim:,} neurons · V = {c.vocab_size:,} tokens"
    write(axes, 11, 333, letters, ha="left", color=WORDS)
    marks = f"A number in a box counts parameters, in a block those of one layer; in all {c.n_params:,}."
    marks += "   ▼ thick frame: this lesson." * lit + "   ✓ yours, green; no mark: the library's." * own
    write(axes, 11, 351, marks, ha="left", color=WORDS)


def map_text(config, lit: tuple[str, ...] = (), own: tuple[str, ...] = ()) -> str:
    """The drawing in one paragraph, for a reader who cannot see it."""
    c, number = config, {box.name: f"{box.params:,}" for box in boxes(config)}
    head = "shares the embedding's table" if c.tie_embeddings else f"{number['Head']} parameters"
    text = (
        f"Map of a model with {c.n_params:,} parameters. Token ids (B, T) → embedding ({number['Embedding']} "
        f"parameters) → residual stream (B, T, D). Each of {c.n_layers} blocks reads the stream twice and adds to it. "
        f"First: norm ({number['Norm']}) → W_q, W_k, W_v ({number['$W_q$']}, {number['$W_k$']}, {number['$W_v$']}) → "
        f"queries (B, H, T, d), keys and values (B, K, T, d) → RoPE turns queries and keys → attention → W_o "
        f"({number['$W_o$']}) → +. Second: norm ({number['Norm']}) → W_gate, W_up ({number['$W_{gate}$']} each) → "
        f"SwiGLU (B, T, F) → W_down ({number['$W_{down}$']}) → +. At the end: norm ({number['Norm']}) → head ({head}) "
        f"→ logits (B, T, V) → loss, or softmax → next token, which is appended to the text. B texts, T tokens, D = "
        f"{c.dim}, H = {c.n_heads}, K = {c.n_kv_heads}, d = {c.head_dim}, F = {c.hidden_dim:,}, V = {c.vocab_size:,}."
    )
    if lit:
        whole = set(lit) == set(PARTS)
        text += f" This lesson: {'the whole model' if whole else ', '.join(PARTS[part] for part in lit)}."
    return text + (f" Yours: {', '.join(PARTS[part] for part in own)}." if own else "")
