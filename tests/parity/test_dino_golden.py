"""DINO with four scales against the original implementation, evaluated and in training with stored random numbers."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from deformable_runs import Run, run, targets
from golden_fixture import Fixture, load_fixture

from sleuth.models.dino import DinoConfig, build_dino
from sleuth.queries import denoising
from sleuth.queries.denoising import DenoisingQueries, Noise
from sleuth.tasks.detection import DetectionLossConfig, build_criterion
from sleuth.weights.maps.dino_original import dino_original
from sleuth.weights.origins.original import ORIGINALS
from sleuth.weights.pickles import PickledWeights

CONFIG = DinoConfig(num_queries=100)
LOSS = DetectionLossConfig(classes="focal", class_weight=1.0, match_class=2.0)
LAYERS = {"": "", **{f"_{layer}": f"_{layer}" for layer in range(5)}, "_interm": "_proposals"}
# Where each of the original's noised objects (group, near or far, object of the batch) stands: picture and query.
GROUPS, COUNTS = 20, (5, 2)
PLACES = [
    (picture, (2 * group + far) * max(COUNTS) + place)
    for group in range(GROUPS)
    for far in (0, 1)
    for picture, count in enumerate(COUNTS)
    for place in range(count)
]


def noise(fixture: Fixture) -> Noise:
    """The stored random numbers, each where its query stands."""
    tensors = fixture.tensors
    shape = (2, GROUPS * 2 * max(COUNTS))
    rows, columns = torch.tensor(PLACES).unbind(1)
    made = Noise(
        label_chance=torch.ones(shape),
        other_label=torch.zeros(shape, dtype=torch.int64),
        sign=torch.ones(*shape, 4),
        part=torch.zeros(*shape, 4),
    )
    made.label_chance[rows, columns] = tensors["in/dn/label_p"]
    chosen = (tensors["in/dn/label_p"] < CONFIG.label_noise * 0.5).nonzero()[:, 0]
    made.other_label[rows[chosen], columns[chosen]] = tensors["in/dn/new_label"]
    made.sign[rows, columns] = 2 * tensors["in/dn/box_sign_bit"] - 1
    made.part[rows, columns] = tensors["in/dn/box_part"]
    return made


@pytest.fixture(scope="module")
def plain(golden: Path) -> Run:
    return run(load_fixture(golden, "dino_r50_4scale"), lambda: build_dino(CONFIG), dino_original())


@pytest.fixture(scope="module")
def trained(golden: Path) -> Run:
    fixture = load_fixture(golden, "dino_r50_4scale_train")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(denoising, "draw_noise", lambda *_: noise(fixture))
        return run(fixture, lambda: build_dino(CONFIG), dino_original(), targets(fixture, "targets_a"))


@pytest.mark.parametrize("name", ["plain", "trained"])
def test_every_decoder_layer_and_the_proposals_agree(name: str, request: pytest.FixtureRequest) -> None:
    found: Run = request.getfixturevalue(name)
    found.check_layers()
    proposals = found.prediction.proposals
    assert proposals is not None
    found.fixture.check("interm/pred_logits", proposals.logits)
    found.fixture.check("interm/pred_boxes", proposals.boxes_cxcywh)
    found.fixture.check("enc/topk_indices", found.seen["queries.source"][1].tokens)


def test_memory_and_what_parts_say_on_the_way_agree(plain: Run) -> None:
    fixture, model, memory = plain.fixture, plain.model, plain.prediction.memory
    fixture.check("memory_every8th", memory.tokens[:, ::8])
    height, width = memory.grids_hw[0]
    pos = memory.pos[:, : height * width] - model.level_embed[0]
    fixture.check("pos_level0_every4th_channel", pos.unflatten(1, (height, width)).permute(0, 3, 1, 2)[:, ::4])
    (boxes,), position = plain.seen["decoder.position"]
    assert model.decoder.position is not None
    fixture.check("decoder0_query_sine_embed_first10", model.decoder.position.sines(boxes)[:, :10])
    fixture.check("decoder0_query_pos_first50", position[:, :50])


def test_scores_and_anchors_of_tokens_agree(plain: Run) -> None:
    memory, source = plain.prediction.memory, plain.model.queries.source
    with torch.no_grad():
        picked = source(memory.tokens, memory.grids_hw, memory.valid, every=True)
        assert picked.every is not None
        plain.fixture.check("enc/max_logit", picked.every[0].max(-1).values)
        moves = source.box_head(source.norm(source.proj(memory.tokens)))
        at = picked.tokens[..., None].expand(-1, -1, 4)
        anchors = picked.references - moves.gather(1, at)
        # Tokens that may not be proposed lie at infinity either way.
        plain.fixture.check("init_box_proposal", anchors.sigmoid())


def test_matches_losses_and_gradients_agree(plain: Run) -> None:
    report = build_criterion(LOSS)(plain.prediction, plain.targets("targets_a"))
    plain.check_matches("targets_a", report, "interm")
    plain.check_losses("targets_a", report, LAYERS)
    plain.check_gradients("targets_a", report.total, zero=["label_enc.weight"])


def test_decoding_agrees(plain: Run) -> None:
    plain.check_decoded()


def test_noised_objects_agree(trained: Run) -> None:
    fixture, table = trained.fixture, trained.model.denoising
    assert table is not None
    made = table(trained.targets("targets_a"), 100, torch.device("cpu"), noise(fixture))
    assert isinstance(made, DenoisingQueries)
    assert made.groups == fixture.spec["values"]["dn_meta"]["num_dn_group"]
    rows, columns = torch.tensor(PLACES).unbind(1)
    fixture.check("dn/noised_labels", made.labels[rows, columns])
    fixture.check("dn/query_boxes_unsigmoid", made.references)
    fixture.check("dn/attn_mask", ~made.attend[0, 0])


def test_denoising_agrees(trained: Run) -> None:
    made = trained.prediction.denoising
    assert made is not None
    trained.fixture.check("dn/pred_logits_first50", made.logits[-1][:, :50])
    trained.fixture.check("dn/pred_boxes", made.boxes_cxcywh[-1])


def test_losses_and_gradients_of_training_agree(trained: Run) -> None:
    report = build_criterion(LOSS)(trained.prediction, trained.targets("targets_a"))
    trained.check_matches("targets_a", report, "interm")
    layers = {"_dn": "_denoising_5", **{f"_dn_{layer}": f"_denoising_{layer}" for layer in range(5)}}
    trained.check_losses("targets_a", report, LAYERS | layers)
    trained.check_gradients("targets_a", report.total)


def test_a_checkpoint_tells_what_it_is(plain: Run) -> None:
    pickled = PickledWeights(plain.fixture.weights, plain.fixture.spec["config"])
    (original,) = [each for each in ORIGINALS if each.recognises(pickled.tensors.keys())]
    loaded = original.read(pickled, Path("checkpoint.pth"))
    assert (loaded.config, loaded.loss) == (CONFIG, LOSS)
    state = plain.model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in loaded.model.state_dict().items())


def test_the_key_map_inverts(plain: Run) -> None:
    exported = plain.keys.export(plain.model.state_dict())
    assert exported.keys() == plain.fixture.weights.keys()
    for key, value in plain.fixture.weights.items():
        assert torch.equal(exported[key], value), key
