import json

import pytest
import torch

from geotoken.model import ModelConfig
from geotoken.model.network import GeoTokenModel
from geotoken.train.config import LoopConfig
from geotoken.train.plan import count_row, make_plan, matmul_tflops

FULL = ModelConfig(
    width=32,
    num_encoder_layers=2,
    num_decoder_layers=3,
    num_heads=4,
    feed_forward=48,
    layout="full",
    modalities=(("image", 24), ("text", 8)),
    num_neighbors=5,
)


def formula(config):
    """Operations of one row by hand: layers over positions, attention over pairs; backward is twice that."""
    items = config.num_neighbors + config.num_guesses
    width, inner, length = config.width, config.feed_forward, config.scheme.length
    positions = config.num_positions(items)
    encoder = 8 * positions * width**2 + 4 * positions**2 * width + 4 * positions * width * inner
    own = 8 * length * width**2 + 4 * length**2 * width
    cross = 4 * length * width**2 + 4 * positions * width**2 + 4 * length * positions * width
    decoder = own + cross + 4 * length * width * inner
    vectors = sum(2 * dim * width * (1 + items) for _, dim in config.modalities)
    head = 2 * length * config.vocabulary_size * width
    whole = config.num_encoder_layers * encoder + config.num_decoder_layers * decoder + vectors + head
    return 3 * whole - vectors  # no gradient of the photos' vectors is needed


def test_operations_are_those_of_the_layers():
    flops, num_bytes = count_row(FULL)
    assert flops == pytest.approx(formula(FULL), rel=0.01)
    one_layer = 4 * FULL.num_positions(5) * FULL.width
    assert num_bytes > 2 * 6 * one_layer
    more, _ = count_row(ModelConfig.compact())
    assert more == pytest.approx(
        formula(ModelConfig.compact()), rel=0.05
    )  # the pointer is not in the formula


def test_a_plan_adds_up():
    loop = LoopConfig(epochs=3, batch_size=100, micro_batch=10, ema_decay=0.9)
    plan = make_plan(FULL, loop, 1050, machine_tflops=2.0)
    num_parameters = sum(one.numel() for one in GeoTokenModel(FULL).parameters())
    assert plan.num_parameters == num_parameters
    assert plan.num_steps == 32
    assert (plan.bytes_weights, plan.bytes_gradients) == (8 * num_parameters, 4 * num_parameters)
    assert plan.bytes_optimizer == 8 * num_parameters
    assert plan.bytes_activations == 10 * count_row(FULL)[1]
    assert plan.flops_step == 100 * plan.flops_row
    assert plan.machine_hours == pytest.approx(32 * plan.flops_step / 2e12 / plan.utilization / 3600)
    assert plan.h100_hours < plan.machine_hours
    assert plan.shapes["item_image"] == (10, 5, 24)
    assert plan.shapes["evidence"] == (10, 68, 32)
    assert plan.tokens_row == 68 + 11
    assert json.loads(json.dumps(plan.to_json()))["bytes_total"] == plan.bytes_total


def test_mixed_precision_and_processes_halve_the_activations():
    loop = LoopConfig(batch_size=64, steps=5)
    whole = make_plan(FULL, loop, 100, machine_tflops=1.0)
    shared = make_plan(FULL, loop, 100, machine_tflops=1.0, num_processes=2)
    mixed = make_plan(
        FULL, LoopConfig(batch_size=64, steps=5, precision="bf16-mixed"), 100, machine_tflops=1.0
    )
    assert (whole.num_steps, whole.machine_measured) == (5, False)
    assert shared.bytes_activations == mixed.bytes_activations == whole.bytes_activations // 2


def test_the_machine_is_measured():
    assert matmul_tflops(torch.float32, size=128, repeats=1) > 0
