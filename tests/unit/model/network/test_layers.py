import math

import pytest
import torch
from torch import nn

from geotoken.model.network.layers import CrossAttention, DecoderLayer, EncoderLayer, SelfAttention, sinusoid


def plain_attention(q, k, v, num_heads, allowed=None):
    """Attention by loops over sequences, heads and queries, shape (N, T, D) in and out."""
    out = torch.zeros_like(q)
    size = q.shape[-1] // num_heads
    for n in range(q.shape[0]):
        for head in range(num_heads):
            part = slice(head * size, (head + 1) * size)
            for t in range(q.shape[1]):
                scores = k[n, :, part] @ q[n, t, part] / math.sqrt(size)
                if allowed is not None:
                    scores = scores.masked_fill(~allowed[n, t], -torch.inf)
                out[n, t, part] = scores.softmax(0) @ v[n, :, part]
    return out


@pytest.fixture
def config(make_config):
    return make_config("pointer")


@torch.no_grad()
@pytest.mark.parametrize("causal", [False, True])
def test_self_attention_equals_a_plain_loop(config, causal):
    layer = SelfAttention(config).eval()
    x = torch.randn(3, 5, 32)
    allowed = torch.ones(3, 5, 5, dtype=torch.bool)
    mask = None
    if causal:
        allowed = allowed.tril()
    else:
        allowed[1, :, 3:] = False
        mask = allowed[:, None, :1]
    expected = layer.out(plain_attention(*layer.query_key_value(x).chunk(3, dim=-1), 4, allowed))
    torch.testing.assert_close(layer(x, mask, causal), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_one_position_at_a_time_equals_the_whole_sequence(config):
    layer = SelfAttention(config).eval()
    x = torch.randn(3, 5, 32)
    whole = layer(x, causal=True)
    kept = []
    for t in range(5):

        def recall(q, new):
            kept.append(new)
            return plain_attention(q[:, None], *torch.stack(kept, dim=1).chunk(2, dim=-1), 4)[:, 0]

        torch.testing.assert_close(layer.step(x[:, t], recall), whole[:, t], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_ragged_rows_see_the_evidence_of_their_photo_only(config):
    layer = CrossAttention(config).eval()
    evidence = torch.randn(3, 6, 32)
    mask = torch.ones(3, 1, 1, 6, dtype=torch.bool)
    mask[1, ..., 2:] = False
    k, v = layer.keys_values(evidence)
    photo = torch.tensor([0, 0, 0, 1, 2, 2])
    pad = torch.tensor([[0, 1, 2], [3, 0, 0], [4, 5, 0]])
    slot = torch.tensor([0, 1, 2, 3, 6, 7])
    x = torch.randn(6, 32)
    found = layer.step(x, k, v, mask, pad, slot)
    for row in range(6):
        one = slice(int(photo[row]), int(photo[row]) + 1)
        alone = layer(x[row][None, None], k[one], v[one], mask[one])
        torch.testing.assert_close(found[row], alone[0, 0], atol=1e-5, rtol=1e-5)
    key, value = layer.key_value(evidence).chunk(2, dim=-1)
    allowed = mask[:, 0].expand(3, 2, 6)
    expected = layer.out(plain_attention(layer.query(x.view(3, 2, 32)), key, value, 4, allowed))
    torch.testing.assert_close(layer(x.view(3, 2, 32), k, v, mask), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_layers_of_the_paper_are_those_of_pytorch(make_config):
    """Post-norm encoder and decoder layers against torch.nn.Transformer*Layer with the same weights."""
    config = make_config("paper")
    names = {
        "attention.query_key_value.weight": "self_attn.in_proj_weight",
        "attention.query_key_value.bias": "self_attn.in_proj_bias",
        "attention.out.weight": "self_attn.out_proj.weight",
        "attention.out.bias": "self_attn.out_proj.bias",
        "feed_forward_in.weight": "linear1.weight",
        "feed_forward_in.bias": "linear1.bias",
        "feed_forward_out.weight": "linear2.weight",
        "feed_forward_out.bias": "linear2.bias",
    }
    x, tokens = torch.randn(2, 5, 32), torch.randn(2, 3, 32)
    everywhere = torch.ones(2, 1, 1, 5, dtype=torch.bool)

    ours, theirs = EncoderLayer(config).eval(), nn.TransformerEncoderLayer(32, 4, 48, batch_first=True).eval()
    weights = ours.state_dict()
    given = {theirs_name: weights[name] for name, theirs_name in names.items()}
    theirs.load_state_dict(theirs.state_dict() | given)
    torch.testing.assert_close(ours(x, everywhere), theirs(x), atol=1e-5, rtol=1e-5)

    ours, theirs = DecoderLayer(config).eval(), nn.TransformerDecoderLayer(32, 4, 48, batch_first=True).eval()
    weights = ours.state_dict()
    given = {theirs_name: weights[name] for name, theirs_name in names.items()}
    for part in ("weight", "bias"):
        joined = [weights[f"cross_attention.{name}.{part}"] for name in ("query", "key_value")]
        given[f"multihead_attn.in_proj_{part}"] = torch.cat(joined)
        given[f"multihead_attn.out_proj.{part}"] = weights[f"cross_attention.out.{part}"]
    theirs.load_state_dict(theirs.state_dict() | given)
    k, v = ours.cross_attention.keys_values(x)
    causal = nn.Transformer.generate_square_subsequent_mask(3)
    expected = theirs(tokens, x, tgt_mask=causal, tgt_is_causal=True)
    torch.testing.assert_close(ours(tokens, k, v, everywhere), expected, atol=1e-5, rtol=1e-5)


def test_waves_of_positions():
    waves = sinusoid(torch.arange(7), 8)
    assert waves.shape == (7, 8)
    torch.testing.assert_close(waves[3, 1], torch.tensor(3 / 10000 ** (2 / 8)).sin())
    torch.testing.assert_close(waves[5, 4], torch.tensor(5.0).cos())
