"""The founding guide's snippets, typed as its reader would type them, run with our classes."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F

import foundry_lib
from foundry_lib import (
    MLP,
    Block,
    CausalSelfAttention,
    DataLoader,
    MiniLLM,
    ModelConfig,
    RMSNorm,
    TrainConfig,
    apply_rotary_emb,
    generate,
)
from foundry_lib.inference.sampling import draw


@pytest.fixture(scope="module")
def my_data(tmp_path_factory):
    path = tmp_path_factory.mktemp("guide") / "my_data.txt"
    path.write_text(
        "".join(f"第{n}章 满纸荒唐言，一把辛酸泪。都云作者痴，谁解其中味？\n" for n in range(200)), encoding="utf-8"
    )
    return path


def test_step_2_training_loop_and_step_3_generation(my_data):
    device = "cpu"
    cfg = TrainConfig(batch_size=4, learning_rate=3e-3, max_iters=8)
    model_cfg = ModelConfig(vocab_size=400, dim=32, n_layers=2, n_heads=4, n_kv_heads=2, max_seq_len=32)
    loader = DataLoader(
        file_path=my_data,  # 使用你的数据
        batch_size=cfg.batch_size,
        block_size=model_cfg.max_seq_len,
        device=device,
        vocab_size=model_cfg.vocab_size,
    )
    model = MiniLLM(model_cfg)
    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.learning_rate)
    losses = []
    for iter in range(cfg.max_iters):  # noqa: B007 (as in the guide)
        # 1. 获取批次数据
        xb, yb = loader.get_batch("train")

        # 2. 前向传播
        logits, loss = model(xb, yb)

        # 3. 反向传播
        optimizer.zero_grad(set_to_none=True)
        loss.backward()

        # 4. 更新参数
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.3

    idx = torch.tensor([loader.tokenizer.encode("满纸荒唐言，")])
    generated = generate(
        model,
        idx,
        max_new_tokens=10,
        temperature=0.8,  # 尝试 0.3, 1.0, 1.5
        top_k=50,  # 尝试 10, 20, None
        top_p=0.9,  # 尝试 0.8, 0.95, None
    )
    assert generated.shape == (1, idx.shape[1] + 10)
    assert loader.tokenizer.decode(generated[0]).startswith("满纸荒唐言，")


def guide_generate(model, idx, max_new_tokens, temperature=1.0, top_k=None):
    """自回归生成"""
    for _ in range(max_new_tokens):
        # 1. 获取预测
        logits, _ = model(idx)
        logits = logits[:, -1, :] / temperature

        # 2. Top-k 采样
        if top_k is not None:
            v, _ = torch.topk(logits, min(top_k, logits.size(-1)))
            logits[logits < v[:, [-1]]] = -float("Inf")

        # 3. 采样下一个token
        probs = F.softmax(logits, dim=-1)
        idx_next = torch.multinomial(probs, num_samples=1)

        # 4. 拼接到序列
        idx = torch.cat((idx, idx_next), dim=1)

    return idx


SMALL = ModelConfig(vocab_size=90, dim=32, n_layers=2, n_heads=4, n_kv_heads=4, max_seq_len=40)


def small_model(config: ModelConfig = SMALL) -> MiniLLM:
    model = MiniLLM(config)
    with torch.no_grad():
        model.output.weight.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
    return model


def test_the_guides_own_generate_draws_what_ours_draws(monkeypatch):
    """With our way to throw the dice: `torch.multinomial` draws as often as the probabilities say, but other tokens."""
    monkeypatch.setattr(torch, "multinomial", lambda probs, num_samples: draw(probs))
    model, idx = small_model(), torch.tensor([[3, 1, 4]])
    with torch.no_grad():
        torch.manual_seed(11)
        theirs = guide_generate(model, idx, 20, temperature=0.8, top_k=10)
        torch.manual_seed(11)
        ours = generate(model, idx, 20, temperature=0.8, top_k=10)
    assert torch.equal(theirs, ours)


def test_step_4_rms_norm():
    class GuideNorm(RMSNorm):
        def forward(self, x):
            # 计算RMS并归一化
            var = torch.mean(x**2, dim=-1, keepdim=True)
            x_norm = x * torch.rsqrt(var + self.eps)
            return self.weight * x_norm

    x = torch.randn(2, 5, 32)
    assert (GuideNorm(32)(x) - RMSNorm(32)(x)).abs().max() <= 1e-6


def test_step_4_rotation():
    """The guide's complex form, with its two slips mended (`reshape(..., -1, 2)` does not run, and the pairs are never
    joined again), is ours with the channels in another order: it pairs neighbours, we pair halves."""
    q, k = torch.randn(2, 4, 9, 16), torch.randn(2, 2, 9, 16)
    with pytest.raises(TypeError):
        q.reshape(..., -1, 2)
    cos, sin = foundry_lib.rope_table(16, 9)
    freqs_cis = torch.complex(cos, sin)

    def guide_rotary(x):
        x_ = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
        return torch.view_as_real(x_ * freqs_cis).flatten(-2)

    halves = torch.cat((torch.arange(0, 16, 2), torch.arange(1, 16, 2)))  # neighbours 2i, 2i + 1 → i, i + 8
    xq_out, xk_out = apply_rotary_emb(q[..., halves], k[..., halves], foundry_lib.rope_table(16, 9))
    assert (guide_rotary(q)[..., halves] - xq_out).abs().max() <= 1e-6
    assert (guide_rotary(k)[..., halves] - xk_out).abs().max() <= 1e-6


def test_step_4_attention_mlp_and_block():
    class GuideAttention(CausalSelfAttention):
        def forward(self, x, freqs_cis):
            # Q, K, V 投影
            q = self.wq(x)
            k = self.wk(x)
            v = self.wv(x)
            q, k, v = (
                t.view(*x.shape[:2], -1, self.head_dim).transpose(1, 2) for t in (q, k, v)
            )  # the guide leaves this out

            # 应用RoPE
            q, k = apply_rotary_emb(q, k, freqs_cis)

            # 注意力计算
            output = F.scaled_dot_product_attention(q, k, v, is_causal=True)

            return self.wo(output.transpose(1, 2).flatten(-2))

    class GuideMLP(MLP):
        def forward(self, x):
            w1, w2, w3 = self.w_gate, self.w_down, self.w_up  # Llama's names
            # SwiGLU: Swish(xW1) ⊙ xW3 → W2
            return w2(F.silu(w1(x)) * w3(x))

    class GuideBlock(Block):
        def forward(self, x, freqs_cis):
            # Pre-normalization
            h = x + self.attention(self.attention_norm(x), freqs_cis)
            out = h + self.feed_forward(self.ffn_norm(h))
            return out

    model, x = small_model(), torch.randn(2, 7, 32)
    table = model.freqs_cis[:, :7]
    block = model.layers[0]
    for theirs, ours in (
        (GuideAttention(SMALL), block.attention),
        (GuideMLP(SMALL), block.feed_forward),
        (GuideBlock(SMALL), block),
    ):
        theirs.load_state_dict(ours.state_dict())
        arguments = (x,) if isinstance(ours, MLP) else (x, table)
        assert (theirs(*arguments) - ours(*arguments)).abs().max() <= 1e-6


def test_step_5_sizes():
    # 原始配置 (Small)
    @dataclass
    class GuideSmall:
        dim: int = 256
        n_layers: int = 4
        n_heads: int = 8
        n_kv_heads: int = 4

    assert ModelConfig(**vars(GuideSmall())) == ModelConfig()
    for sizes in (
        dict(dim=128, n_layers=2, n_heads=4, n_kv_heads=2),
        dict(dim=512, n_layers=8, n_heads=8, n_kv_heads=4),
    ):
        MiniLLM(ModelConfig(**sizes))
    TrainConfig(batch_size=32, learning_rate=3e-4, max_iters=1000)


def test_question_4_saving_and_loading(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg, model = SMALL, small_model()
    # 保存
    torch.save(model.state_dict(), "my_model.pt")

    # 加载
    model = MiniLLM(cfg)
    model.load_state_dict(torch.load("my_model.pt"))
    model.eval()
    idx = torch.tensor([[5, 6, 7]])
    assert torch.equal(model(idx)[0], small_model()(idx)[0])
