"""The walk of lesson 05: the map of the model, and one text on its way through it, with a slider from box to box."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .. import plots, tales
from ..analysis.surprise import true_distribution
from ..analysis.walk import Stop, missing, predicted, walk_through
from ..inference.generation import sample_text
from ..plots import model_map
from .controls import Choice, Slider, Words
from .head_explorer import names_of
from .panel import Panel
from .picture import Boxes, Picture

MOST = 16  # tokens: as many as can be read beside each other
NEXT = 6  # predicted tokens that are shown
IN_BOLD = dict(fontsize=9, weight="bold", ha="center", va="center", family="DejaVu Sans")
UNSEEN = 999_983  # the number of a tale that no model of the course was trained on


class Walk:
    """A text on its way through one model: the stops, what each would predict, and the grammar's own prediction.

    grammar: "en" or "zh" for a model of the tales, None for another.
    """

    def __init__(self, text: str, model, tokenizer, grammar: str | None):
        self.text = text
        every = tokenizer.encode(text, bos=True)
        self.ids = every[: min(MOST, model.config.max_seq_len)]
        self.cut = len(every) - len(self.ids)
        self.names = names_of(tokenizer, self.ids)
        self.stops = walk_through(model, torch.tensor([self.ids], device=model.device))
        self.numbers = {stop.title: number for number, stop in enumerate(self.stops)}
        self.missing = missing(self.stops, model.config.n_layers)
        self.residuals = [number for number, stop in enumerate(self.stops) if stop.residual]
        self.growth = torch.stack([self.stops[number].sizes() for number in self.residuals])  # (residual stops, T)
        self.predictions = [predicted(model, self.stops[number]) for number in self.residuals]  # (T, V) each
        beginnings = [tokenizer.decode(self.ids[1 : position + 1]) for position in range(len(self.ids))]
        of_tales = grammar is not None  # then also None where no tale begins like this
        self.truths = [true_distribution(text, tokenizer, grammar) if of_tales else None for text in beginnings]

    def so_far(self, stop: int) -> int:
        """The last stop of the residual stream before or at a stop, as an index of `residuals`."""
        return max(0, sum(number <= stop for number in self.residuals) - 1)

    def prediction(self, stop: int, position: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Probabilities (V,) of the next token after a position: what the model would predict if it ended at this stop,
        and after the last layer the grammar's own, where there are any."""
        ended = stop > self.residuals[-1]
        return self.predictions[self.so_far(stop)][position], self.truths[position] if ended else None


class WalkPicture(Picture):
    """Above, the map with a frame around the present box. Below: the size of each token's vector there, or a head's
    attention weights; the growth of the residual stream; and what the model would predict if it ended there."""

    def __init__(self, model, tokenizer, grammar: str | None):
        self.model, self.tokenizer, self.grammar, self.walk = model, tokenizer, grammar, None

    def read(self, text: str) -> Walk:
        """The walk of a text, computed once."""
        if self.walk is None or self.walk.text != text:
            self.walk = Walk(text, self.model, self.tokenizer, self.grammar)
        return self.walk

    def key(self, text: str, stop: str, **values):
        return text, stop.endswith("attention weights")

    def build(self, figure: Figure, text: str, stop: str, **values):
        walk, (_, self.weights) = self.read(text), self.key(text, stop)
        map_axes = figure.add_axes((0, 0.66, 1, 0.34))
        places = ((0.065, 0.28), (0.42, 0.22), (0.75, 0.235))
        self.left, middle, right = (figure.add_axes((x, 0.185, width, 0.375)) for x, width in places)
        moving = self.build_weights(walk) if self.weights else self.build_sizes(walk)
        moving += [*self.build_map(map_axes), *self.build_growth(middle, walk), *self.build_predictions(right)]
        for artist in moving:
            artist.set_animated(True)

    def build_map(self, axes: Axes) -> list:
        """Above: the map. Returns the artists that move."""
        model_map.draw_map(axes, self.model.config, names_only=True)
        self.frame = axes.add_patch(Rectangle((0, 0), 0, 0, fill=False, ec=plots.ROLES["marked"], lw=3, zorder=7))
        (self.pin,) = axes.plot([], [], "v", ms=9, mfc=plots.ROLES["marked"], mec="white", zorder=8)
        self.here = axes.text(480, 337, "", color=plots.ROLES["marked"], **IN_BOLD)
        return [self.frame, self.pin, self.here]

    def build_sizes(self, walk: Walk) -> list:
        """Left: a bar for each token. Returns the artists that move."""
        chosen = dict(facecolor=plots.ROLES["chosen"], hatch="///", edgecolor=plots.CARD, lw=0)
        self.bars = [
            self.left.add_patch(Boxes(**look)) for look in (dict(color=plots.ROLES["not chosen"], lw=0), chosen)
        ]
        names = [name.replace("$", r"\$") for name in walk.names]
        self.left.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        self.left.set(xlim=(-0.6, len(names) - 0.4), ylim=(0, 1.08), yticks=[0, 1])
        self.left.set_yticklabels(["0", ""], fontsize=8)
        self.left.set_title("size (RMS) of each token's vector", fontsize=9)
        self.left.grid(visible=False, axis="x")
        beside = dict(ha="right", va="center", fontsize=8, transform=self.left.get_yaxis_transform())
        self.largest = self.left.text(-0.03, 1, "", **beside)  # one text moves ten times as fast as an axis
        middle = dict(ha="center", va="center", fontsize=9, transform=self.left.transAxes)
        self.nothing = self.left.text(0.5, 0.5, "", **middle)
        return [*self.bars, self.largest, self.nothing]

    def build_weights(self, walk: Walk) -> list:
        """Left: a row for each token, with what it attends to. Returns the artists that move."""
        plots.draw_weights(self.left, torch.eye(len(walk.names)), walk.names, columns=[])
        self.left.set_title("what each row attends to: dark 0, yellow 1", fontsize=9)
        self.left.set_xlabel("a column for each token, in the same order", fontsize=8)
        self.row = self.left.add_patch(Rectangle((0, 0), 0, 1, fill=False, ec=plots.ROLES["marked"], lw=2))
        return [*self.left.collections, *self.left.lines, self.row]

    def build_growth(self, axes: Axes, walk: Walk) -> list:
        """Middle: the size of the residual stream from stop to stop. Returns the artists that move."""
        axes.plot(walk.growth, color=plots.ROLES["not chosen"], lw=0.8)
        (self.line,) = axes.plot([], [], color=plots.ROLES["chosen"], lw=2.2)
        (self.dot,) = axes.plot([], [], "o", ms=9, mfc="none", mec=plots.ROLES["marked"], mew=2)
        labels = ["embedding"]
        for number in walk.residuals[1:]:
            stop = walk.stops[number]
            labels.append(f"{stop.layer} {'attention' if stop.box[1] == 0 else 'SwiGLU'}")
        every = 1 if len(labels) <= 9 else 4
        axes.set_xticks(range(0, len(labels), every), labels[::every], rotation=90, fontsize=8)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_title("size (RMS) of the residual stream", fontsize=9)
        axes.tick_params(axis="y", labelsize=8)
        return [self.line, self.dot]

    def build_predictions(self, axes: Axes) -> list:
        """Right: the most probable next tokens. Returns the artists that move."""
        self.chances = axes.add_patch(Boxes(color=plots.ROLES["own model"], lw=0))
        (self.truth,) = axes.plot([], [], "D", color=plots.ROLES["truth"], mec=plots.CARD, ms=6, clip_on=False)
        beside = dict(ha="right", va="center", fontsize=9, transform=axes.get_yaxis_transform())
        self.words = [axes.text(-0.03, y, "", **beside) for y in range(NEXT)]
        axes.set_title("next token, if the model ended here", fontsize=9, x=0.4)
        axes.set_yticks(range(NEXT), [""] * NEXT)
        axes.set(xlim=(0, 1.02), ylim=(NEXT - 0.4, -0.6))
        label = "probability" if self.grammar is None else "probability; ◆ the grammar's, at the end"
        axes.set_xlabel(label, fontsize=8)
        axes.tick_params(axis="x", labelsize=8)
        axes.grid(visible=False, axis="y")
        return [self.chances, self.truth, *self.words]

    def move(self, text: str, stop: str, token: int, head: int) -> str:
        walk = self.read(text)
        number, position = walk.numbers[stop], min(token, len(walk.ids)) - 1
        present = walk.stops[number]
        self.move_frame(present)
        if self.weights:
            plots.move_weights(self.left, present.tensor[0, head])
            self.row.set(xy=(-0.5, position - 0.5), width=len(walk.ids))
        else:
            self.move_sizes(present.sizes(), position)
        residual = walk.so_far(number)
        self.line.set_data(range(len(walk.residuals)), walk.growth[:, position])
        self.dot.set_data([residual], [walk.growth[residual, position]])
        model, truth = walk.prediction(number, position)
        self.move_predictions(model, truth)
        return " ".join(self.sentences(walk, number, position, head, model, truth))

    def move_frame(self, stop: Stop):
        part, number = stop.box
        box = [box for box in model_map.boxes(self.model.config) if box.part == part][number]
        left, top = box.x - box.width / 2 - 2, box.y - box.height / 2 - 3
        self.frame.set(xy=(left, top), width=box.width + 4, height=box.height + 6)
        self.pin.set_data([box.x], [top - 8])
        self.here.set_text(f"{stop.title}: {shape_of(stop)}")

    def move_sizes(self, sizes: torch.Tensor | None, position: int):
        heights = [] if sizes is None else sizes.tolist()
        largest = max(heights, default=0.0)
        boxes = [(x - 0.4, 0, 0.8, height / (largest or 1.0)) for x, height in enumerate(heights)]
        self.bars[0].put(boxes[:position] + boxes[position + 1 :])
        self.bars[1].put(boxes[position : position + 1])
        self.largest.set_text(f"{largest:.2g}" if heights else "")
        self.nothing.set_text("" if heights else "no vectors at this stop")

    def move_predictions(self, model: torch.Tensor, truth: torch.Tensor | None):
        shown = (model if truth is None else torch.maximum(model, truth)).topk(NEXT).indices
        self.chances.put([(0, y - 0.35, chance, 0.7) for y, chance in enumerate(model[shown].tolist())])
        self.truth.set_data(*([], []) if truth is None else (truth[shown], range(NEXT)))
        for word, name in zip(self.words, names_of(self.tokenizer, shown.tolist()), strict=True):
            word.set_text(name.replace("$", r"\$"))

    def sentences(self, walk: Walk, number: int, position: int, head: int, model, truth) -> list[str]:
        """The reading, sentence by sentence."""
        stop, name = walk.stops[number], f"‘{walk.names[position]}’"
        token = f"{name}, token {position + 1},"
        words = [f"Stop {number + 1} of {len(walk.stops)}, {stop.title}: {shape_of(stop)}."]
        sizes = stop.sizes()
        if sizes is not None:
            words.append(f"The vector of {token} has the size {sizes[position]:.2f} (RMS).")
        if self.weights:
            share, at = stop.tensor[0, head, position].max(0)
            words.append(f"In head {head} {token} attends most to ‘{walk.names[at]}’ ({share:.2f}).")
        else:
            words.append(f"Head {head} is chosen for the stops with attention weights.")
        chance, most = model.max(0)
        first = names_of(self.tokenizer, [most.item()])[0]
        verb = "predicts" if number > walk.residuals[-1] else "would predict, if it ended here,"
        words.append(f"After {name} the model {verb} ‘{first}’ ({chance:.2f}).")
        if truth is not None:
            words.append(compared(model, truth))
        elif self.grammar is not None and number > walk.residuals[-1]:
            words.append("No tale begins like this, so there is no truth to compare with.")
        if walk.cut:
            words.append(f"The text has {walk.cut + len(walk.ids)} tokens; the walk takes the first {len(walk.ids)}.")
        if walk.missing:
            words.append(f"This model's own parts do not show: {', '.join(walk.missing)}.")
        return words


def compared(model: torch.Tensor, truth: torch.Tensor) -> str:
    """The model's probabilities (V,) against the grammar's, as a sentence."""
    allowed, apart = truth > 0, 0.5 * (model - truth).abs().sum()
    many = "1 token" if allowed.sum() == 1 else f"{int(allowed.sum())} tokens"
    return (
        f"The grammar allows {many}; the model gives them {model[allowed].sum():.3f} of the probability. The distance "
        f"between the two distributions is {apart:.2f} (0 the same, 1 nothing in common)."
    )


def shape_of(stop: Stop) -> str:
    """The shape of a stop's tensor in letters and in numbers."""
    return f"({stop.letters}) = {tuple(stop.tensor.shape)}"


def first_text(model, tokenizer, grammar: str | None) -> str:
    """A text of at most 16 tokens: the beginning of an unseen tale, or what a model of another text writes."""
    if grammar is None:
        text = sample_text(model, tokenizer, "", MOST, seed=1, temperature=0.0)
    else:
        text = tales.generate(grammar, UNSEEN, 1)[0].text
    return tokenizer.decode(tokenizer.encode(text)[: min(MOST, model.config.max_seq_len) - 1])


def walk(model, tokenizer, grammar: str | None = None, text: str | None = None) -> Panel:
    """The panel for a model: a text, the stop, the token and the head.

    grammar: "en" or "zh" compares the end with the grammar of the tales; None for a model of another text. text: what
    the model reads; None takes one that fits the model.
    """
    picture = WalkPicture(model, tokenizer, grammar)
    text = first_text(model, tokenizer, grammar) if text is None else text
    stops = list(picture.read(text).numbers)
    attention = [stop for stop in stops if stop.endswith("attention weights")]
    return Panel(
        picture,
        width=9.5,
        height=4.6,
        name="walk",
        text=Words(text, label="your text"),
        stop=Choice(
            [stops[0], *attention][-1], {f"{number} of {len(stops)}": stop for number, stop in enumerate(stops, 1)}
        ),
        token=Slider(MOST, 1, MOST),
        head=Slider(0, 0, model.config.n_heads - 1, label="attention head"),
    )
