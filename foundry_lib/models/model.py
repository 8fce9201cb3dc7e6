"""MiniLLM: token ids in, a score for every possible next token out. A small Llama."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..config import ModelConfig
from ..errors import ConfigError
from .attention import CausalSelfAttention
from .feed_forward import MLP
from .kv_cache import KVCache
from .linear import Linear
from .loss import next_token_loss
from .norm import RMSNorm
from .rope import rope_table


class Block(nn.Module):
    """One layer: attention, then feed-forward, each reading a normalised copy of the stream and
    adding its result to it.

    norm, attention, feed_forward: what to build the parts with, called as `norm(dim, eps)`,
    `attention(config, layer)` and `feed_forward(config)`. Each may be a learner's own class or
    function.
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

    def forward(self, x: Tensor, freqs_cis: Tensor, cache: KVCache | None = None) -> Tensor:
        """x (B, T, D) → (B, T, D)."""
        h = x + self.attention(self.attention_norm(x), freqs_cis, cache)
        return h + self.feed_forward(self.ffn_norm(h))


class MiniLLM(nn.Module):
    """A decoder-only transformer in the manner of Llama (Touvron et al. 2023): RMSNorm, RoPE, GQA, SwiGLU, no biases.

        model = MiniLLM(ModelConfig.preset("tiny"))
        logits, loss = model(x, y)     # training: x, y (B, T) token ids, y is x moved on by one
        logits, _ = model(idx)         # idx (B, T) → logits (B, T, V)

    `seed` draws the first weights: the same seed gives the same model, and torch's own generator stays as it was.

    Parts of one's own plug in, by the names that Block gives them; `block` replaces the whole layer:

        model = MiniLLM(config, norm=MyRMSNorm, feed_forward=MyMLP)
        model = MiniLLM(config, attention=partial(CausalSelfAttention, rotary=my_rotary, attend=my_attend))
    """

    def __init__(
        self, config: ModelConfig, seed: int = 1337, *, block: Callable = Block, norm: Callable = RMSNorm, **parts
    ):
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # for what parts of one's own draw; a GPU's stays as it was
            self.tok_embeddings = nn.Embedding(config.vocab_size, config.dim)
            self.layers = nn.ModuleList(block(config, layer, norm=norm, **parts) for layer in range(config.n_layers))
            self.norm = norm(config.dim, config.norm_eps)
            self.output = Linear(config.dim, config.vocab_size)
        if config.tie_embeddings:
            self.output.weight = self.tok_embeddings.weight
        table = rope_table(config.head_dim, config.max_seq_len, config.rope_theta)
        self.register_buffer("freqs_cis", table, persistent=False)
        self.init_weights(seed)

    @torch.no_grad()
    def init_weights(self, seed: int = 1337):
        """Draw every matrix anew, and put the library's norms back to 1; the configuration's docstring says how wide.

        Biases, and parts of one's own that are no `nn.Linear`, keep what they have.
        """
        c, generator = self.config, torch.Generator().manual_seed(seed)
        self.tok_embeddings.weight.normal_(0, c.embedding_std or c.dim**-0.5, generator=generator)
        for module in (*self.layers.modules(), self.norm):
            if isinstance(module, nn.Linear):
                std = c.matrix_std or module.in_features**-0.5
                rows = torch.empty_like(module.weight, memory_format=torch.contiguous_format)
                module.weight.copy_(rows.normal_(0, std, generator=generator))  # however it lies, the same draws
            elif isinstance(module, RMSNorm):
                module.weight.fill_(1.0)
        if not c.tie_embeddings:
            self.output.weight.zero_()  # every token equally likely: the first loss is ln V exactly

    def stream(self, idx: Tensor, cache: KVCache | None = None) -> Tensor:
        """What the output head reads: the normalised stream behind the last layer.

        Token ids (B, T) → (B, T, D). Raises ConfigError as `forward` does.
        """
        if idx.dim() != 2:
            raise ConfigError(
                f"Token ids are rows, (B, T); found shape {tuple(idx.shape)}. idx[None] makes one row of them."
            )
        B, T = idx.shape
        start = 0 if cache is None else cache.length
        if start + T > self.config.max_seq_len:
            raise ConfigError(
                f"The model reads at most max_seq_len={self.config.max_seq_len} tokens, found "
                f"{start + T}. Crop the text, for example idx[:, -{self.config.max_seq_len}:]."
            )
        if cache is not None:
            cache.check_room(B, T)
        freqs_cis = self.freqs_cis[:, start : start + T]
        try:
            x = self.tok_embeddings(idx)
        except IndexError:
            last = self.config.vocab_size - 1
            found = f"{idx.min()} to {idx.max()}"
            raise ConfigError(f"Token ids go from 0 to {last}, found {found}.") from None
        for layer in self.layers:
            x = layer(x, freqs_cis, cache)
        if cache is not None:
            cache.advance(T)
        return self.norm(x)

    def forward(
        self, idx: Tensor, targets: Tensor | None = None, cache: KVCache | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Scores of every next token, and the loss where `targets` are given.

        idx: (B, T) token ids. targets: (B, T) the right next tokens; −100 is left out of the loss.
        cache: the tokens read before; idx continues behind them.
        Returns logits (B, T, V), and the mean cross-entropy in nats a token, or None without
        targets.
        Raises ConfigError when the tokens do not fit into max_seq_len or the cache.
        """
        x = self.stream(idx, cache)
        if targets is None:
            return self.output(x), None
        return self.output(x), next_token_loss(x, self.output.weight, targets)

    def loss(self, idx: Tensor, targets: Tensor) -> Tensor:
        """The loss of `forward` alone, for a training: it needs no logits, the largest tensor there is."""
        return next_token_loss(self.stream(idx), self.output.weight, targets)

    def new_cache(self, batch_size: int = 1) -> KVCache:
        """Room for the keys and values of `batch_size` texts of max_seq_len tokens, in the weights' precision."""
        weight = self.tok_embeddings.weight
        return KVCache(self.config, batch_size, device=weight.device, dtype=weight.dtype)

    @property
    def n_params(self) -> int:
        """Number of trained parameters, counted on the tensors themselves; a tied head counts once."""
        return sum(p.numel() for p in self.parameters())
