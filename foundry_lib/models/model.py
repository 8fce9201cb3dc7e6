"""MiniLLM: token ids in, a score for every possible next token out. A small Llama."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ..config import ModelConfig
from ..inputs import check_parts, checked_start, embedded
from ..shape import Shape
from .attention import CausalSelfAttention
from .feed_forward import MLP
from .kv_cache import KVCache
from .linear import Linear, draw_weight
from .loss import next_token_loss
from .norm import RMSNorm
from .rope import rope_table


class Block(nn.Module):
    """One layer: attention, then the feed-forward part. Each reads a normalised copy of the
    residual stream and adds its result to the stream. The arguments build the parts, called as
    `norm(dim, eps)`, `attention(config, layer)` and `feed_forward(config)`; yours can stand there.
    """

    def __init__(
        self,
        config: ModelConfig,
        layer: int = 0,
        norm: Callable = RMSNorm,
        attention: Callable = CausalSelfAttention,
        feed_forward: Callable = MLP,
    ):
        super().__init__()
        self.attention_norm = norm(config.dim, config.norm_eps)
        self.attention = attention(config, layer)
        self.ffn_norm = norm(config.dim, config.norm_eps)
        self.feed_forward = feed_forward(config)

    def forward(self, x: Shape("B T D"), freqs_cis: Shape("2 T d/2"), cache=None) -> Shape("B T D"):
        """freqs_cis: the angles at x's positions. cache: the tokens read before, or None."""
        h = x + self.attention(self.attention_norm(x), freqs_cis, cache)
        return h + self.feed_forward(self.ffn_norm(h))


PARTS = dict(block=Block, norm=RMSNorm, attention=CausalSelfAttention, feed_forward=MLP)  # the library's
OPTIONAL = ("residual", "logits", "positions", "model")
PARTS |= dict.fromkeys(OPTIONAL) | {"rope_table": rope_table}


class MiniLLM(nn.Module):
    """A decoder-only transformer in the manner of Llama (Touvron et al. 2023): RMSNorm, RoPE, GQA, SwiGLU, no biases.

        model = MiniLLM(ModelConfig.preset("tiny"))
        loss = model.loss(x, y)        # training: x, y (B, T) token ids; y is x shifted by one
        logits, _ = model(idx)         # idx (B, T) → logits (B, T, V)

    The same `seed` gives the same first weights; torch's own generator stays as it was. Your own parts have the names
    of Block's arguments; an own block is called as block(config, layer, norm=…). An own `model` is a subclass of
    MiniLLM with this constructor. Another name raises ConfigError.

        model = MiniLLM(config, attention=partial(CausalSelfAttention, rotary=my_rotary, attend=my_attend))

    The other parts are functions. `parts` lists by name what is not the library's.
    residual(x, x0, layer): what enters a layer, from the residual stream x and the embeddings x0. A function or an
        nn.Module with weights. residual=lambda x, x0, layer: 0.9 * x + 0.1 * x0
    logits(scores): the logits from the head's scores, each number by itself, in the loss too: a scale or a softcap.
    positions(layer): the layer's own `rope_table`, instead of one; cosines 1 and sines 0 are a layer without RoPE.
    """

    def __new__(cls, *given, model: type | None = None, **parts):
        return super().__new__(model or cls)

    def __init__(self, config: ModelConfig, seed: int = 1337, *, block=Block, rope_table=rope_table, **parts):
        super().__init__()
        check_parts(parts, PARTS)
        given, self.config = dict(block=block, rope_table=rope_table, **parts), config
        self.residual, self.logits, positions, _ = (parts.pop(name, None) for name in OPTIONAL)
        self.parts = {name: part for name, part in given.items() if part is not PARTS[name]}
        norm = parts.setdefault("norm", RMSNorm)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # an own part may use torch's global generator
            self.tok_embeddings = nn.Embedding(config.vocab_size, config.dim)
            self.layers = nn.ModuleList(block(config, layer, **parts) for layer in range(config.n_layers))
            self.norm = norm(config.dim, config.norm_eps)
            self.output = Linear(config.dim, config.vocab_size)
        if config.tie_embeddings:
            self.output.weight = self.tok_embeddings.weight
        table = rope_table(config.head_dim, config.max_seq_len, config.rope_theta)  # (2, max_seq_len, d/2)
        if positions is not None:
            table = torch.stack([positions(layer) for layer in range(config.n_layers)])  # (L, 2, max_seq_len, d/2)
        self.register_buffer("freqs_cis", table, persistent=False)
        self.init_weights(seed)

    @torch.no_grad()
    def init_weights(self, seed: int = 1337):
        """Draw the embedding and each `nn.Linear` of the layers with the configuration's standard deviations, and set
        each RMSNorm (or subclass) to 1. All else keeps its values: biases, other own parts, a `residual` module."""
        c, generator = self.config, torch.Generator().manual_seed(seed)
        self.tok_embeddings.weight.normal_(0, c.embedding_std or c.dim**-0.5, generator=generator)
        for module in (*self.layers.modules(), self.norm):
            if isinstance(module, nn.Linear):
                draw_weight(module, c.matrix_std or module.in_features**-0.5, generator)
            elif isinstance(module, RMSNorm):
                module.weight.fill_(1.0)
        if not c.tie_embeddings:
            self.output.weight.zero_()  # every token equally likely: the first loss is ln V exactly

    def hidden(self, idx: Shape("B T"), cache: KVCache | None = None) -> Shape("B T D"):
        """The residual stream after the last norm. Raises ConfigError as `forward` does."""
        embeddings = self.tok_embeddings
        start = checked_start(self.config, embeddings.weight, idx, cache)
        tables = self.tables(start, idx.shape[1])  # for each layer (2, T, d/2)
        x = x0 = embedded(embeddings, idx)  # (B, T, D)
        for i, layer in enumerate(self.layers):
            if self.residual is not None:
                x = self.residual(x, x0, i)
            x = layer(x, tables[i], cache)  # (B, T, D)
        if cache is not None:
            cache.advance(idx.shape[1])
        return self.norm(x)

    def tables(self, start: int, n: int) -> Sequence[Tensor]:
        """The angles of n positions from `start` on, (2, n, d/2) for each layer."""
        rows = self.freqs_cis.narrow(-2, start, n)
        return rows if rows.dim() == 4 else [rows] * self.config.n_layers

    def forward(self, idx: Shape("B T"), targets=None, cache=None) -> (Shape("B T V"), Tensor):
        """Logits of every next token, and the loss if `targets` are given.

        idx: token ids. targets (B, T): the right next tokens; −100 does not count. cache: a KVCache
        with the tokens read before. Returns the logits, and the mean cross-entropy in nats per
        token or None. Raises ConfigError for tokens that do not fit.
        """
        x = self.hidden(idx, cache)  # (B, T, D)
        scores = self.output(x)  # (B, T, V)
        logits = scores if self.logits is None else self.logits(scores)
        if targets is None:
            return logits, None
        return logits, next_token_loss(x, self.output.weight, targets, self.logits)

    def loss(self, idx: Shape("B T"), targets: Shape("B T")) -> Tensor:
        """Only the loss of `forward`, for training: it never holds the logits, the largest tensor there is."""
        return next_token_loss(self.hidden(idx), self.output.weight, targets, self.logits)

    def new_cache(self, batch_size: int = 1, kind: Callable = KVCache) -> KVCache:
        """A cache `kind`: room for `batch_size` sequences of max_seq_len tokens, with the weights' dtype and device."""
        return kind(self.config, batch_size, self.device, self.tok_embeddings.weight.dtype)

    @property
    def device(self) -> torch.device:
        """Where the weights are, and where token ids must be."""
        return self.tok_embeddings.weight.device

    @property
    def n_params(self) -> int:
        """Number of trained parameters, counted on the tensors themselves; a tied head counts once."""
        return sum(p.numel() for p in self.parameters())
