import numpy as np
import pytest
import torch

from geotoken import cells
from geotoken.decoding import DecodingOptions, decode, score_prefixes
from geotoken.errors import ConfigError, InputError
from geotoken.evidence import Evidence
from geotoken.geo import haversine_km
from geotoken.model.network import GeoTokenModel, TorchModel
from geotoken.train.config import LoopConfig
from geotoken.train.decoder import DecoderConfig, DecoderStage, cross_entropy, greedy, to_tensors
from geotoken.train.draws import Draws
from geotoken.train.dropout import DropoutConfig
from geotoken.train.loop import fit
from training_cases import NearCases, tiny_config


def make_stage(config=None, cases=None, dropout=None, **changes):
    config = config or tiny_config()
    torch.manual_seed(0)
    settings = DecoderConfig(**{"validation_share": 0.2, **changes})
    return DecoderStage(
        GeoTokenModel(config), cases or NearCases(config), settings, dropout or DropoutConfig()
    )


def evidence_of(cases, row):
    return Evidence(
        neighbor_lat=cases.near[row, :, 0],
        neighbor_lng=cases.near[row, :, 1],
        neighbor_rank=np.arange(1.0, 5),
        neighbor_similarity=np.linspace(0.9, 0.6, 4),
        query_vectors={"image": cases.vectors[row, 0]},
        neighbor_vectors={"image": cases.vectors[row, 1:]},
    )


def test_owners_are_on_one_side(tmp_path):
    stage = make_stage()
    cases = stage.cases
    train, held_out = set(cases.owner[stage.train_rows]), set(cases.owner[stage.validation_rows])
    assert not train & held_out
    assert len(stage.train_rows) + len(stage.validation_rows) == 120
    assert 15 <= len(stage.validation_rows) <= 33


def test_a_split_without_photos_is_refused():
    cases = NearCases(tiny_config())
    with pytest.raises(InputError, match=r"set validation_share, now 1e-30, in .decoder. of a --config file"):
        make_stage(cases=cases, validation_share=1e-30)


@pytest.mark.parametrize("head", ["generator", "pointer"])
def test_the_loss_is_the_weighted_cross_entropy(head):
    stage = make_stage(tiny_config(head=head), first_weight=3.0, last_weight=1.0)
    rows = np.arange(6)
    loss, logged = stage.loss(stage.module, rows, Draws(0, 0, 0, 6))
    cases = stage.train_rows[rows]
    tokens = stage.scheme.encode(stage.cases.lat[cases], stage.cases.lng[cases])
    model = TorchModel(stage.module)
    memory = model.encode([evidence_of(stage.cases, row) for row in cases])
    prefixes = score_prefixes(model, memory, tokens[:, None])[:, 0]  # (B, T), of prefixes
    nats = -np.diff(np.c_[np.zeros(6), prefixes], axis=1)
    expected = (nats * [1.5, 1.0, 0.5]).mean()
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)
    assert float(logged["nll"]) == pytest.approx(nats.sum(axis=1).mean(), rel=1e-4)


def test_smoothing_adds_the_cross_entropy_of_the_neighborhood():
    plain, soft = make_stage(), make_stage(smoothing=0.2)
    rows = np.arange(6)
    loss, _ = plain.loss(plain.module, rows, Draws(0, 0, 0, 6))
    smoothed, _ = soft.loss(soft.module, rows, Draws(0, 0, 0, 6))
    assert float(smoothed.detach()) != pytest.approx(float(loss.detach()))
    smoothed.backward()
    assert all(torch.isfinite(p.grad).all() for p in soft.module.parameters() if p.grad is not None)


def test_impossible_tokens_do_not_spoil_the_gradient():
    logits = torch.zeros(1, 1, 4, requires_grad=True)
    impossible = torch.tensor([False, False, True, True])
    log_probs = logits.masked_fill(impossible, -1e9).log_softmax(-1).masked_fill(impossible, -torch.inf)
    loss = cross_entropy(log_probs, torch.tensor([[[0.75, 0.25, 0.0, 0.0]]]))
    loss.sum().backward()
    assert float(loss.detach()) == pytest.approx(np.log(2))
    torch.testing.assert_close(logits.grad, torch.tensor([[[-0.25, 0.25, 0.0, 0.0]]]))


def test_validation_scores_the_truth_as_the_decoder_does():
    stage = make_stage(greedy_rows=5)
    figures = stage.validate(stage.module.eval())
    rows = stage.validation_rows
    model = TorchModel(stage.module)
    memory = model.encode([evidence_of(stage.cases, row) for row in rows])
    lat, lng = stage.cases.lat[rows], stage.cases.lng[rows]
    tokens = stage.scheme.encode(lat, lng)
    nll = -score_prefixes(model, memory, tokens[:, None])[:, 0, -1]
    assert figures["loss"] == pytest.approx(nll.mean(), rel=1e-5)
    area_km2 = cells.area_km2(cells.from_lat_lng(lat, lng, 4))
    assert figures["nll_km2"] == pytest.approx((nll + np.log(area_km2)).mean(), rel=1e-5)
    found = [
        decode(model, model.encode([evidence_of(stage.cases, row)]), DecodingOptions(decoder="greedy"))[0]
        for row in rows[:5]
    ]
    distance_km = [
        float(haversine_km(one.lat[0], one.lng[0], *truth))
        for one, truth in zip(found, zip(lat[:5], lng[:5], strict=True), strict=True)
    ]
    assert figures["median_error_km"] == pytest.approx(np.median(distance_km), rel=1e-6)
    assert figures["acc_at_2500km"] == pytest.approx(100 * np.mean(np.array(distance_km) <= 2500))


def test_no_greedy_rows_no_accuracies():
    stage = make_stage(greedy_rows=0)
    assert set(stage.validate(stage.module.eval())) == {"loss", "nll_km2"}


def test_greedy_is_the_likeliest_token_of_each_step():
    stage = make_stage()
    batch = stage.cases.evidence(np.arange(4), None)
    arrays = to_tensors(batch, torch.device("cpu"))
    with torch.no_grad():
        tokens = greedy(stage.module.eval(), arrays)
        log_probs = stage.module(arrays, torch.from_numpy(tokens))
    np.testing.assert_array_equal(log_probs.argmax(dim=-1).numpy(), tokens)


@pytest.mark.parametrize("head", ["generator", "pointer"])
def test_training_finds_the_places(tmp_path, head):
    stage = make_stage(
        tiny_config(head=head),
        dropout=DropoutConfig(neighbor=0.1, modality=0.1, query=0.1, similarity=0.1),
        smoothing=0.02,
    )
    loop = LoopConfig(
        epochs=25, batch_size=32, learning_rate=0.01, ema_decay=0.9, accelerator="cpu", validate_every=30
    )
    before = stage.validate(stage.module.eval())
    outcome = fit(stage, loop, tmp_path)
    assert before["loss"] > 3.5  # 1536 leaves: 7.3 nats if all were alike
    assert outcome.best["loss"] < 1.5
    assert outcome.best["acc_at_750km"] > 80
    assert stage.validate(stage.module)["loss"] == pytest.approx(outcome.best["loss"], rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"first_weight": 0.0}, "first_weight"),
        ({"smoothing": 1.0}, "smoothing"),
        ({"smoothing_width": 0.0}, "smoothing_width"),
        ({"validation_share": 0.0}, "validation_share"),
        ({"validation_rows": 0}, "validation_rows"),
        ({"greedy_rows": -1}, "greedy_rows"),
    ],
)
def test_ranges(changes, name):
    with pytest.raises(ConfigError, match=name):
        DecoderConfig(**changes)


def test_bfloat16_trains_like_float32(tmp_path):
    losses = []
    for precision in ("32-true", "bf16-mixed"):
        loop = LoopConfig(epochs=4, batch_size=32, learning_rate=0.01, accelerator="cpu", precision=precision)
        stage = make_stage()
        losses.append(fit(stage, loop, tmp_path / precision).best["loss"])
        assert all(one.dtype == torch.float32 for one in stage.module.parameters())
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    assert losses[0] != losses[1]
