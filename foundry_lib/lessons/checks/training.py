"""Exercises of lesson 07: the loss, the training step, the learning rate along a training, and gradient accumulation.

The step is judged with a small model of our own and plain gradient descent, so that each mistake shows in the weights;
three steps follow each other, each with its own batch and learning rate.
"""

import math
import weakref
import zlib

import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from .ladder import Exercise, describe, ordinal

IGNORED = -100


# ---- The loss


def loss_case(B, T, V, ignored=0, scale=1.0):
    g = torch.Generator().manual_seed(100 * B + 10 * T + V)
    y = torch.randint(V, (B, T), generator=g)
    if ignored:  # the ends of the first rows
        for row in range(B - 1):
            y[row, T - ignored + row % ignored :] = IGNORED
    return {"logits": scale * torch.randn(B, T, V, generator=g), "y": y}


LOSS_CASES = [loss_case(2, 3, 5), loss_case(3, 4, 7, ignored=2, scale=2.0), loss_case(4, 6, 3, ignored=3, scale=20.0)]


def prices(logits, y):
    """−ln p of every target, 0 where there is none."""
    V = logits.shape[-1]
    marked = one_hot(y.clamp(min=0), V).to(logits) * (y != IGNORED)[..., None]
    return -(torch.log_softmax(logits, -1) * marked).sum(-1)


def mean_price(logits, y):
    return prices(logits, y).sum() / (y != IGNORED).sum()


def pooled(logits, y):
    """The logarithm of the mean probability."""
    kept = y != IGNORED
    return -((-prices(logits, y)).exp() * kept).sum().div(kept.sum()).log()


def over_rows_with_targets(logits, y):
    """The softmax runs down the targets' rows of scores, for each piece."""
    kept = y != IGNORED
    return -logits[kept].log_softmax(0).gather(-1, y[kept][:, None]).mean()


def every_target_everywhere(logits, y):
    kept = y != IGNORED
    return -logits[kept].log_softmax(-1)[:, y[kept]].mean()


def mean_of(scores, y):
    """The mean of −scores at the targets."""
    marked = one_hot(y.clamp(min=0), scores.shape[-1]) * (y != IGNORED)[..., None]
    return -(scores * marked).sum() / (y != IGNORED).sum()


LOSS_MISTAKES = {
    "The sum was divided by all places, also those without a target (−100). How many targets are there?": (
        lambda logits, y: prices(logits, y).mean()
    ),
    "Places that have no target were charged as if piece 0 were wanted there. Which value of y says that there is "
    "none?": lambda logits, y: mean_price(logits, y.clamp(min=0)),
    "It looks as if a softmax had been taken of probabilities, so that even a sure guess pays. What does cross_entropy "
    "expect, scores or probabilities?": lambda logits, y: mean_price(logits.softmax(-1), y),
    "It has the wrong sign: it falls as the model gets worse.": lambda logits, y: -mean_price(logits, y),
    "The whole batch was added up, so that a larger batch has a larger loss.": lambda logits, y: prices(
        logits, y
    ).sum(),
    "Each row was averaged for itself first, so that a target in a short row weighs more than one in a long row.": (
        lambda logits, y: (prices(logits, y).sum(1) / (y != IGNORED).sum(1)).mean()
    ),
    "It counts in bits. To which base is the logarithm of a nat?": lambda logits, y: (
        mean_price(logits, y) / math.log(2)
    ),
    "The targets of the last row alone were priced. How many rows has the batch?": lambda logits, y: mean_price(
        logits[-1:], y[-1:]
    ),
    "It is the logarithm of the mean probability. What is averaged, the probabilities or their prices?": pooled,
    "The scores themselves were averaged, without a softmax: nothing makes them sum to 1.": mean_of,
    "The softmax ran over the places of a row instead of the pieces. Which axis of (B, T, V) are the choices?": (
        lambda logits, y: mean_of(torch.log_softmax(logits, 1), y)
    ),
    "The softmax ran over the rows of the batch, so that tales compete with each other. Between which of the scores is "
    "the choice?": lambda logits, y: mean_of(torch.log_softmax(logits, 0), y),
    "The softmax ran down the places that have a target, one piece at a time. Which axis holds the choices of one "
    "place?": over_rows_with_targets,
    "Each place was charged for the targets of all places. How many of the picked numbers belong to one place?": (
        every_target_everywhere
    ),
    "It is the mean probability of the right pieces, and not yet a price. What does −ln do to it?": lambda logits, y: (
        -mean_of(logits.softmax(-1), y)
    ),
}

mean_loss = Exercise(
    "mean_loss",
    "my_loss(logits, y) → nats a target, a number",
    LOSS_CASES,
    mean_price,
    LOSS_MISTAKES,
)


# ---- The step


class SmallModel(nn.Module):
    """What a step needs of a MiniLLM: called with ids it gives (scores, None), with targets (scores, loss)."""

    def __init__(self, vocab_size, dim=6):
        super().__init__()
        self.embedding, self.output = nn.Embedding(vocab_size, dim), nn.Linear(dim, vocab_size, bias=False)
        for name, p in self.named_parameters():
            g = torch.Generator().manual_seed(zlib.crc32(name.encode()))
            p.data = torch.randn(p.shape, generator=g)
        self.readings, self.open, self.most_open = [], weakref.WeakSet(), 0

    def forward(self, idx, targets=None):
        logits = self.noted(self.output(torch.tanh(self.embedding(idx)).cumsum(1)))
        return logits, None if targets is None else cross_entropy(logits.flatten(0, 1), targets.flatten())

    def loss(self, idx, targets):
        return self(idx, targets)[1]

    def noted(self, logits):
        """Keep how many rows each reading has, and how many at most wait for their backward at one time."""
        if not logits.requires_grad:
            return logits
        reading = Reading(len(logits))
        self.readings.append(reading.rows)
        self.open.add(reading)
        self.most_open = max(self.most_open, sum(each.rows for each in self.open))
        return Noted.apply(logits, reading, self.open)


class Reading:
    """One call of a model; it lives as long as what the model has kept for backward."""

    def __init__(self, rows):
        self.rows = rows


class Noted(torch.autograd.Function):
    """Hands on what it gets; a reading is no longer open when backward comes by."""

    @staticmethod
    def forward(ctx, logits, reading, still_open):
        ctx.reading, ctx.still_open = reading, still_open
        return logits.view_as(logits)

    @staticmethod
    def backward(ctx, gradient):
        ctx.still_open.discard(ctx.reading)
        return gradient, None, None


def updates(case):
    """A case in words: the first axis of x and y counts the updates, and the work sees one of them at a time."""
    one = {name: value[0] if name in ("x", "y") else value for name, value in case.items()}
    return f"{len(case['x'])} updates, each {describe(one)}"


def loss_or_weights(number, case):
    """What the value with this number is that `run_steps` or `run_pieces` gives."""
    here = number - len(case["x"])
    return f"the loss of update {number}" if here <= 0 else f"the {ordinal(here)} matrix after the last update"


def step_case(B, T, V, lrs, grad_clip):
    g = torch.Generator().manual_seed(B + 10 * T + V)
    rows = torch.randint(V, (len(lrs), B, T + 1), generator=g)
    y = rows[:, :, 1:].clone()
    y[1, 0, T // 2 :] = IGNORED
    return {"x": rows[:, :, :-1].clone(), "y": y, "lrs": lrs, "grad_clip": grad_clip}


STEP_CASES = [
    step_case(2, 4, 5, [0.1, 0.3, 0.05], 0.5),
    step_case(3, 5, 7, [0.02, 0.4, 0.2], 1.5),
    step_case(4, 2, 9, [0.3, 0.1, 0.2, 0.4], 100.0),
]


def run_steps(work, case):
    """Three or four steps one after the other; what each returned, and the weights at the end."""
    model = SmallModel(int(case["x"].max()) + 2)
    decayed = {"params": [model.embedding.weight], "weight_decay": 0.1}
    optimizer = torch.optim.SGD([decayed, {"params": [model.output.weight]}], lr=0.7)  # two groups, as a Trainer has
    losses = []
    for x, y, lr in zip(case["x"], case["y"], case["lrs"], strict=True):
        loss = work(model, optimizer, x, y, lr, case["grad_clip"])
        if loss is None or loss is Ellipsis:
            return loss
        losses.append(loss)
    return [*losses, *(p.detach() for p in model.parameters())]


def plain_step(model, optimizer, x, y, lr, grad_clip, decay=True):
    """Without an optimizer's own step and without torch's clipping: every weight by hand."""
    weights, decays = zip(*((w, g["weight_decay"]) for g in optimizer.param_groups for w in g["params"]), strict=True)
    _, loss = model(x, y)
    gradients = torch.autograd.grad(loss, weights)
    size = math.sqrt(sum(g.pow(2).sum().item() for g in gradients))
    factor = min(1.0, grad_clip / (size + 1e-6))
    with torch.no_grad():
        for weight, gradient, share in zip(weights, gradients, decays, strict=True):
            weight -= lr * (factor * gradient + decay * share * weight)
    return loss.item()


def steps_in_order(*order, price=None):
    """A step that does just the named things, in this order."""

    def step(model, optimizer, x, y, lr, grad_clip):
        loss = price(model, x, y) if price else model(x, y)[1]
        do = {
            "rate": lambda: [group.update(lr=lr) for group in optimizer.param_groups],
            "one rate": lambda: optimizer.param_groups[0].update(lr=lr),
            "rate below zero": lambda: [group.update(lr=-lr) for group in optimizer.param_groups],
            "empty": optimizer.zero_grad,
            "backward": loss.backward,
            "backward of minus": lambda: (-loss).backward(),
            "clip": lambda: nn.utils.clip_grad_norm_(model.parameters(), grad_clip),
            "value": lambda: nn.utils.clip_grad_value_(model.parameters(), grad_clip),
            "each": lambda: [nn.utils.clip_grad_norm_(p, grad_clip) for p in model.parameters()],
            "always": lambda: (
                nn.utils.clip_grad_norm_(model.parameters(), grad_clip).div(grad_clip).clamp(max=1)
                and scale_up(model, grad_clip)
            ),
            "step": optimizer.step,
        }
        for name in order:
            do[name]()
        return loss.item()

    return step


def scale_up(model, size):
    """Make the gradient exactly as long as `size`."""
    gradients = [p.grad for p in model.parameters()]
    norm = math.sqrt(sum(g.pow(2).sum().item() for g in gradients))
    for g in gradients:
        g.mul_(size / norm)


def loss_afterwards(model, optimizer, x, y, lr, grad_clip):
    plain_step(model, optimizer, x, y, lr, grad_clip)
    return model(x, y)[1].item()


def softmax_first(model, x, y):
    return cross_entropy(model(x)[0].softmax(-1).flatten(0, 1), y.flatten())


def repeating(model, x, y):
    """The targets are the tokens that were read."""
    return model(x, torch.where(y == IGNORED, y, x))[1]


def padding_counted(model, x, y):
    losses = cross_entropy(model(x)[0].flatten(0, 1), y.flatten(), reduction="none")
    return losses.mean()


def summed(model, x, y):
    return cross_entropy(model(x)[0].flatten(0, 1), y.flatten(), reduction="sum")


ALL = ("rate", "empty", "backward", "clip", "step")

STEP_MISTAKES = {
    "The first step is right, and each later one is pushed by the gradients of all the steps before it. What does "
    "backward do to numbers that are already in .grad?": steps_in_order("rate", "backward", "clip", "step"),
    "The weights never move, though the losses are right: either .grad was empty when the optimizer looked, or nobody "
    "asked it to move them. In which order stand your lines?": steps_in_order(
        "rate", "backward", "empty", "clip", "step"
    ),
    "Each step moves the weights by the gradient of the batch before. In which order do backward and step come?": (
        steps_in_order("rate", "clip", "step", "empty", "backward")
    ),
    "Every step had the learning rate that the optimizer was made with, 0.7. What is lr for?": steps_in_order(
        "empty", "backward", "clip", "step"
    ),
    "Each step used the learning rate of the step before it. When does an optimizer read its lr?": steps_in_order(
        "empty", "backward", "clip", "step", "rate"
    ),
    "Where the gradient was longer than grad_clip, the weights moved too far: nothing shortened it before they "
    "moved.": steps_in_order("rate", "empty", "backward", "step"),
    "Each single number of the gradient was cut off, which turns its direction. What has a norm, a number or all of "
    "them together?": steps_in_order("rate", "empty", "backward", "value", "step"),
    "Each matrix was clipped for itself, so that the long ones were shortened against the short ones.": steps_in_order(
        "rate", "empty", "backward", "each", "step"
    ),
    "A gradient shorter than grad_clip was made longer. What should happen to a short one?": steps_in_order(
        "rate", "empty", "backward", "always", "step"
    ),
    "Only the first group of weights got lr, the other kept the rate that the optimizer was made with. How long is the "
    "list of groups?": steps_in_order("one rate", "empty", "backward", "clip", "step"),
    "The weights moved by lr times their gradient and by nothing else, so the weight decay of the optimizer's groups "
    "is lost. Who should move them?": lambda m, o, x, y, lr, c: plain_step(m, o, x, y, lr, c, decay=False),
    "It went uphill: the weights moved along the gradient. Which way does the loss fall?": steps_in_order(
        "rate", "empty", "backward of minus", "clip", "step"
    ),
    "The rate has a minus, so the weights went uphill. Who takes away, your line or the optimizer?": steps_in_order(
        "rate below zero", "empty", "backward", "clip", "step"
    ),
    "The loss is that of the batch when it has already been learned from. Which forward pass gives it?": (
        loss_afterwards
    ),
    "The scores went through a softmax before cross_entropy, which takes one itself: the gradients are too small.": (
        steps_in_order(*ALL, price=softmax_first)
    ),
    "The model was asked for the token that it reads. On the tales such a loss falls below the floor, where no honest "
    "one can be. Which of x and y is one token ahead?": steps_in_order(*ALL, price=repeating),
    "Places without a target (−100) made the mean smaller. Over how many targets is it taken?": steps_in_order(
        *ALL, price=padding_counted
    ),
    "The losses of a batch were added up, so that gradients grow with the size of a batch.": steps_in_order(
        *ALL, price=summed
    ),
    "Two updates were made with one batch. How often does the guide's loop call the optimizer?": steps_in_order(
        *ALL, "step"
    ),
    "backward ran twice, once more than there are losses, and the second gradient was added to the first.": (
        lambda m, o, x, y, lr, c: twice(m, o, x, y, lr, c)
    ),
}


def twice(model, optimizer, x, y, lr, grad_clip):
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    for _ in range(2):
        loss = model(x, y)[1]
        loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    optimizer.step()
    return loss.item()


train_step = Exercise(
    "train_step",
    "my_train_step(model, optimizer, x, y, lr, grad_clip) → the batch's loss, a number",
    STEP_CASES,
    plain_step,
    STEP_MISTAKES,
    run=run_steps,
    told=updates,
    value_name=loss_or_weights,
)


# ---- The learning rate along a training


def rate_case(step, peak, warmup, total, lowest):
    return {"step": step, "peak": peak, "warmup": warmup, "total": total, "lowest": lowest}


RATE_CASES = [
    rate_case(0, 2.0, 10, 110, 0.1),
    rate_case(7, 3.0, 10, 110, 0.05),
    rate_case(9, 1.5, 10, 210, 0.2),
    rate_case(10, 1.5, 10, 210, 0.2),
    rate_case(60, 4.0, 20, 120, 0.25),
    rate_case(100, 2.5, 20, 140, 0.1),
    rate_case(159, 2.0, 5, 160, 0.3),
    rate_case(3, 1.7, 0, 40, 0.15),
]


def scheduled(step, peak, warmup, total, lowest):
    """By the angle of a half turn."""
    if step < warmup:
        return peak * (step + 1) / warmup
    angle = math.pi * (step - warmup) / (total - warmup)
    return peak * lowest + (peak - peak * lowest) * math.cos(angle / 2) ** 2


def fall(shape):
    """A schedule with the right warm-up whose fall is peak · shape(done, lowest)."""

    def rate(step, peak, warmup, total, lowest):
        if step < warmup:
            return peak * (step + 1) / warmup
        return peak * shape((step - warmup) / (total - warmup), lowest)

    return rate


def warm(shape):
    """A schedule with the right fall whose warm-up is `shape(step, warmup, lowest)` of the peak."""

    def rate(step, peak, warmup, total, lowest):
        if step < warmup:
            return peak * shape(step, warmup, lowest)
        return scheduled(step, peak, warmup, total, lowest)

    return rate


def half_cosine(done):
    return (1 + math.cos(math.pi * done)) / 2


def counted(done):
    """A schedule with the right warm-up and the right curve, along a share done(step, warmup, total) of its own."""

    def rate(step, peak, warmup, total, lowest):
        if step < warmup:
            return peak * (step + 1) / warmup
        return peak * (lowest + (1 - lowest) * half_cosine(done(step, warmup, total)))

    return rate


RATE_MISTAKES = {
    "Step 0 has a learning rate of 0, so that its batch teaches nothing. The steps are counted from 0: which share of "
    "the warm-up is done in the first one?": warm(lambda step, warmup, lowest: step / warmup),
    "The warm-up ends one step too late and just misses the peak. By what is step + 1 divided?": warm(
        lambda step, warmup, lowest: (step + 1) / (warmup + 1)
    ),
    "The first step behind the warm-up is above the peak: it still counted as warming up. Which is the last step of "
    "it?": lambda step, peak, warmup, total, lowest: (
        peak * (step + 1) / warmup if step <= warmup and warmup else scheduled(step, peak, warmup, total, lowest)
    ),
    "There is no warm-up: the first steps have the full rate.": warm(lambda step, warmup, lowest: 1.0),
    "The warm-up begins at the lowest rate and not near 0.": warm(
        lambda step, warmup, lowest: lowest + (1 - lowest) * (step + 1) / warmup
    ),
    "It falls along a straight line. Which curve is flat at both ends?": fall(
        lambda done, lowest: lowest + (1 - lowest) * (1 - done)
    ),
    "It falls all the way to 0. What is `lowest` a share of?": fall(lambda done, lowest: half_cosine(done)),
    "Right behind the warm-up the rate is above its peak: lowest was added to a curve that has the full height "
    "already.": fall(lambda done, lowest: lowest + half_cosine(done)),
    "The curve was cut off at the lowest rate, with a kink. How high is the curve that should fit between lowest and "
    "1?": fall(lambda done, lowest: max(lowest, half_cosine(done))),
    "The cosine went below zero and was not halved. Between which numbers does a cosine run?": fall(
        lambda done, lowest: lowest + (1 - lowest) * math.cos(math.pi * done)
    ),
    "Right behind the warm-up the rate is nearly twice its peak. How high is 1 + cos where it begins?": fall(
        lambda done, lowest: lowest + (1 - lowest) * 2 * half_cosine(done)
    ),
    "It goes up and down many times: the half turn was written in degrees. In which unit does math.cos count?": fall(
        lambda done, lowest: lowest + (1 - lowest) * half_cosine(180 * done / math.pi)
    ),
    "It falls and rises again: a whole turn. How far must the angle go?": fall(
        lambda done, lowest: lowest + (1 - lowest) * half_cosine(2 * done)
    ),
    "Only a quarter of a turn: the fall is steepest at its very end.": fall(
        lambda done, lowest: lowest + (1 - lowest) * math.cos(math.pi / 2 * done)
    ),
    "It rises where it should fall. What is half the cosine plus a half when nothing is done yet?": fall(
        lambda done, lowest: lowest + (1 - lowest) * (1 - half_cosine(done))
    ),
    "The fall is counted from step 0, so that it has already begun when the warm-up ends.": counted(
        lambda step, warmup, total: step / total
    ),
    "The fall takes as long as the whole training and is not finished at its end. How many steps are left after the "
    "warm-up?": counted(lambda step, warmup, total: (step - warmup) / total),
    "The fall is one step too short: its last step has done all of it already. How many steps are there from the "
    "warm-up to total?": counted(lambda step, warmup, total: (step - warmup) / (total - 1 - warmup)),
    "The fall is one step ahead. The first step behind the warm-up has the full rate: which share is done there?": (
        counted(lambda step, warmup, total: (step - warmup + 1) / (total - warmup))
    ),
    "lowest was taken as a learning rate and not as a share of the peak.": (
        lambda step, peak, warmup, total, lowest: (
            peak * (step + 1) / warmup
            if step < warmup
            else lowest + (peak - lowest) * half_cosine((step - warmup) / (total - warmup))
        )
    ),
    "It is a share between 0 and 1, whatever the peak is.": lambda step, peak, warmup, total, lowest: scheduled(
        step, 1.0, warmup, total, lowest
    ),
    "It never changes. Which of the arguments says where the training is?": lambda step, peak, *others: peak,
}

learning_rate = Exercise(
    "learning_rate",
    "my_learning_rate(step, peak, warmup, total, lowest) → a number",
    RATE_CASES,
    scheduled,
    RATE_MISTAKES,
)


# ---- A large batch in small pieces


def pieces_case(B, T, V, parts):
    g = torch.Generator().manual_seed(B + T + V)
    rows = torch.randint(V, (2, B, T + 1), generator=g)
    return {"x": rows[:, :, :-1].clone(), "y": rows[:, :, 1:].clone(), "parts": parts}


PIECES_CASES = [
    pieces_case(4, 3, 5, 2),
    pieces_case(5, 4, 6, 2),
    pieces_case(7, 2, 9, 3),
    pieces_case(8, 3, 6, 4),
    pieces_case(6, 5, 4, 6),
]


def run_pieces(work, case, model=None):
    """Two updates; what each returned, and the weights at the end."""
    model = model or small_model(case)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    losses = []
    for x, y in zip(case["x"], case["y"], strict=True):
        loss = work(model, optimizer, x, y, case["parts"])
        if loss is None or loss is Ellipsis:
            return loss
        losses.append(loss)
    return [*losses, *(p.detach() for p in model.parameters())]


def small_model(case):
    return SmallModel(int(case["x"].max()) + 2)


def row_by_row(model, optimizer, x, y, parts):
    """The mean over the rows, by hand: one row at a time, whatever the parts."""
    weights = list(model.parameters())
    total, gradients = 0.0, [torch.zeros_like(weight) for weight in weights]
    for row in range(len(x)):
        loss = model(x[row : row + 1], y[row : row + 1])[1] / len(x)
        gradients = [a + b for a, b in zip(gradients, torch.autograd.grad(loss, weights), strict=True)]
        total += loss.item()
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            weight -= 0.3 * gradient
    return total


def all_at_once(model, optimizer, x, y, parts):
    optimizer.zero_grad()
    loss = model(x, y)[1]
    loss.backward()
    optimizer.step()
    return loss.item()


def summed_first(model, optimizer, x, y, parts):
    optimizer.zero_grad()
    total = 0.0
    for xs, ys in zip(x.chunk(parts), y.chunk(parts), strict=True):
        total = total + model(xs, ys)[1] * len(xs) / len(x)
    total.backward()
    optimizer.step()
    return total.item()


def without_the_rest(x, parts):
    """`parts` pieces of len(x) // parts rows."""
    return x.split(len(x) // parts)[:parts]


def in_pieces(share, first="empty", between=None, given=None, cut=torch.chunk):
    """share(rows here, rows in all, parts): the weight of a piece. between: what is done behind each piece. given: what
    is made of the pieces' losses and weighted losses; the mean over all rows where it is None. cut(x, parts): pieces.
    """

    def update(model, optimizer, x, y, parts):
        if first == "empty":
            optimizer.zero_grad()
        found = []
        for xs, ys in zip(cut(x, parts), cut(y, parts), strict=True):
            if between == "empty":
                optimizer.zero_grad()
            loss = model(xs, ys)[1]
            weighted = loss * share(len(xs), len(x), parts)
            weighted.backward()
            found.append((loss.item(), weighted.item(), len(xs)))
            if between == "step":
                optimizer.step()
            if between == "step and empty":
                optimizer.step()
                optimizer.zero_grad()
        if between not in ("step", "step and empty", "no step"):
            optimizer.step()
        losses, weighted, rows = zip(*found, strict=True)
        if given is None:
            return sum(loss * n for loss, n in zip(losses, rows, strict=True)) / len(x)
        return given(losses, weighted)

    return update


def by_rows(here, rows, parts):
    return here / rows


def weighted_sum(losses, weighted):
    return sum(weighted)


SIZE_FOR_NUMBER = (
    "8 rows in 4 parts were read 4 rows at a time. Is `parts` how many pieces there are, or how many rows one has? And "
    "which of the two does torch's split take?"
)
ONE_READING = (
    "All rows of the batch were read in one call, for which this machine has no memory. How many rows should one call "
    "read?"
)
ALL_KEPT = (
    "More rows than one piece has were in memory at the same time. A loss keeps all that its backward will need: when "
    "may it let go?"
)

PIECES_MISTAKES = {
    SIZE_FOR_NUMBER: in_pieces(by_rows, cut=torch.split),
    ONE_READING: all_at_once,
    ALL_KEPT: summed_first,
    "With 5 rows in 2 pieces the last row was never read. What remains when 5 is divided by 2?": in_pieces(
        by_rows, cut=without_the_rest, given=weighted_sum
    ),
    "With 5 rows in 2 pieces the last row was never read, and the pieces share the whole among them. What remains when "
    "5 is divided by 2?": in_pieces(lambda here, rows, parts: 1 / parts, cut=without_the_rest, given=weighted_sum),
    "The pieces' gradients were added and nothing made them smaller: with more pieces the step gets longer.": (
        in_pieces(lambda here, rows, parts: 1.0)
    ),
    "Right where all pieces are equally large, wrong for 5 rows in 2 pieces: there each row of the small piece weighs "
    "more. What is a piece's share of the batch?": in_pieces(lambda here, rows, parts: 1 / parts),
    "The gradient is too small: each piece was divided by the number of rows, though its loss is a mean over its own "
    "rows already.": in_pieces(lambda here, rows, parts: 1 / rows),
    "The gradient is too large: each piece's loss was multiplied by its rows, and never divided.": in_pieces(
        lambda here, rows, parts: float(here)
    ),
    "The pieces were added as they are, gradients and losses: three pieces count three times. What is a piece's share "
    "of the batch?": in_pieces(lambda here, rows, parts: 1.0, given=weighted_sum),
    "In the update and in the loss all pieces count alike. With 5 rows in 2 pieces they are not equally large: what is "
    "the share of each?": in_pieces(lambda here, rows, parts: 1 / parts, given=weighted_sum),
    "Update and loss are both too small: each piece was divided by all rows, though its loss is a mean over its own "
    "rows already.": in_pieces(lambda here, rows, parts: 1 / rows, given=weighted_sum),
    "Update and loss are both too large: each piece was multiplied by its rows. What must the sum over the pieces be "
    "divided by?": in_pieces(lambda here, rows, parts: float(here), given=weighted_sum),
    "The weights moved after every piece, so that the later pieces were read by another model, and earlier gradients "
    "were used again. How many updates has one large batch?": in_pieces(by_rows, between="step"),
    "Each piece made a small update of its own. That trains too, but it is not what the large batch does. Where does "
    "the step belong?": in_pieces(by_rows, between="step and empty"),
    "Only the last piece has taught anything: the gradients of the others were thrown away. When should .grad be "
    "emptied?": in_pieces(by_rows, between="empty"),
    "The first update is right, the second one not: what is still in .grad when it begins?": in_pieces(
        by_rows, first=""
    ),
    "The update is right, but the loss is that of the last piece alone.": in_pieces(
        by_rows, given=lambda ls, _: ls[-1]
    ),
    "The update is right, but what came back is the last piece's share of the loss. Where are the shares of the others "
    "added?": in_pieces(by_rows, given=lambda _, weighted: weighted[-1]),
    "The update is right, but the losses of the pieces were added up without their shares.": in_pieces(
        by_rows, given=lambda losses, _: sum(losses)
    ),
    "The update is right, but the loss is the plain mean of the pieces, whatever their size.": in_pieces(
        by_rows, given=lambda losses, _: sum(losses) / len(losses)
    ),
    "The weights were not changed at all. What comes behind the loop?": in_pieces(by_rows, between="no step"),
    "Only the first piece was read. How many are there?": lambda m, o, x, y, parts: row_by_row(
        m, o, x.chunk(parts)[0], y.chunk(parts)[0], parts
    ),
}


def watched(holds):
    """A property of how the rows were read: holds(the rows of each reading, the most that were open, rows, parts)."""

    def reads_so(work, case):
        model = small_model(case)
        run_pieces(work, case, model)
        return holds(model.readings, model.most_open, case["x"].shape[1], case["parts"])

    return reads_so


def no_size_for_number(readings, most_open, rows, parts):
    """False for pieces of `parts` rows where that is more than a piece has and less than all."""
    cut = [len(piece) for piece in torch.arange(rows).split(parts)]
    return not math.ceil(rows / parts) < cut[0] < rows or readings != cut + cut


accumulation = Exercise(
    "accumulation",
    "my_accumulate(model, optimizer, x, y, parts) → the large batch's loss, a number",
    PIECES_CASES,
    row_by_row,
    PIECES_MISTAKES,
    {
        SIZE_FOR_NUMBER: watched(no_size_for_number),
        ONE_READING: watched(lambda readings, most_open, rows, parts: max(readings, default=0) < rows),
        ALL_KEPT: watched(lambda readings, most_open, rows, parts: most_open <= math.ceil(rows / parts)),
    },
    run=run_pieces,
    told=updates,
    value_name=loss_or_weights,
)
