import numpy as np
import pytest
import torch

transformers = pytest.importorskip("transformers", reason="the extra backbones is not installed")
tokenizers = pytest.importorskip("tokenizers", reason="the extra backbones is not installed")

from geotoken.errors import ArtifactError, DependencyError, InputError  # noqa: E402
from geotoken.train import texts  # noqa: E402
from geotoken.train.texts import encode_texts  # noqa: E402

SENTENCES = [
    "lima peru",
    "cusco peru",
    "peru",
    "oslo norway and a few words more than there is room for here",
]
WORDS = ["<pad>", "<start>", "<end>", "<unknown>", "lima", "peru", "cusco", "oslo", "norway"]
SIZE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}


def save_tokenizer(folder):
    """Words by number, between a start and an end."""
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unknown>")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        bos_token="<start>",
        eos_token="<end>",
        unk_token="<unknown>",
    ).save_pretrained(folder)


def text_config():
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    return transformers.CLIPTextConfig(
        **SIZE, vocab_size=len(WORDS), max_position_embeddings=8, projection_dim=12, **ids
    )


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(4)
    folder = tmp_path / "text"
    transformers.CLIPTextModelWithProjection(text_config()).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def test_vectors_are_those_of_the_library_whatever_is_computed_together(folder, monkeypatch):
    model = transformers.CLIPTextModelWithProjection.from_pretrained(folder).eval()
    expected = []
    for sentence in SENTENCES:
        ids = [1, *(WORDS.index(w) if w in WORDS else 3 for w in sentence.split()), 2]
        ids = [*ids[:7], 2] if len(ids) > 8 else ids + [0] * (8 - len(ids))
        mask = torch.tensor([[int(i != 0) for i in ids]])
        with torch.inference_mode():
            expected.append(model(input_ids=torch.tensor([ids]), attention_mask=mask).text_embeds[0].numpy())
    found = encode_texts(folder, SENTENCES)
    assert found.shape == (4, 12)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    monkeypatch.setattr(texts, "_TOGETHER", 3)
    seen = []
    again = encode_texts(str(folder), SENTENCES, progress=lambda *done: seen.append(done))
    np.testing.assert_allclose(again, found, atol=1e-6)
    assert seen == [(3, 4), (4, 4)]


def test_the_text_half_of_a_whole_clip_is_taken(tmp_path):
    torch.manual_seed(5)
    vision = {**SIZE, "image_size": 16, "patch_size": 8}
    config = transformers.CLIPConfig(
        text_config=text_config().to_dict(), vision_config=vision, projection_dim=12
    )
    model = transformers.CLIPModel(config).eval()
    model.save_pretrained(tmp_path / "clip")
    save_tokenizer(tmp_path / "clip")
    found = encode_texts(tmp_path / "clip", ["lima peru"])
    given = {
        "input_ids": torch.tensor([[1, 4, 5, 2, 0, 0, 0, 0]]),
        "attention_mask": torch.tensor([[1] * 4 + [0] * 4]),
    }
    with torch.inference_mode():
        whole = model.get_text_features(**given)
        expected = whole if isinstance(whole, torch.Tensor) else whole.pooler_output
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_what_is_no_text_encoder_is_refused(folder, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="neither a folder nor owner/name on the hub"):
        encode_texts("nothing here", ["a"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match="cannot be loaded as a text encoder") as caught:
        encode_texts(tmp_path / "empty", ["a"])
    assert "\n" not in str(caught.value)
    transformers.Dinov2Config(**SIZE).save_pretrained(tmp_path / "empty")
    with pytest.raises(ArtifactError, match="is a dinov2 model"):
        encode_texts(tmp_path / "empty", ["a"])
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match="fetch it again"):
        encode_texts(folder, ["a"])
    monkeypatch.setattr(texts, "find_spec", lambda name: None)
    with pytest.raises(DependencyError, match=r"geotoken\[backbones\]"):
        encode_texts(folder, ["a"])


def test_a_missing_weight_is_not_made_up(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights.pop("text_projection.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ArtifactError, match=r"lacks 1 weights of its text encoder, the first text_projection"
    ):
        encode_texts(folder, ["a"])
