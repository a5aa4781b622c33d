"""A key map is a bijection between what it does not drop on either side."""

import re

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from sleuth.errors import UserError
from sleuth.weights.keymap import KeyMap, Rule
from sleuth.weights.maps.deformable_detr_huggingface import deformable_detr_huggingface
from sleuth.weights.maps.deformable_detr_original import deformable_detr_original
from sleuth.weights.maps.detr_huggingface import detr_huggingface
from sleuth.weights.maps.detr_original import DETR_ORIGINAL, DETR_ORIGINAL_MASKS
from sleuth.weights.maps.dfine_huggingface import dfine_huggingface
from sleuth.weights.maps.dfine_original import DFINE_ORIGINAL
from sleuth.weights.maps.dino_original import dino_original

TABLES = {
    "original": DETR_ORIGINAL,
    "original, masks": DETR_ORIGINAL_MASKS,
    "huggingface, timm, masks": detr_huggingface(backbone="timm", masks=True),
    "huggingface, own resnet": detr_huggingface(backbone="resnet"),
    "huggingface, version 5": detr_huggingface(backbone="resnet", masks=True, layout="v5"),
    "huggingface, two stages": detr_huggingface(backbone="timm", stages=2),
    "deformable, original": deformable_detr_original(decoder_layers=3),
    "deformable, original, two-stage": deformable_detr_original(decoder_layers=3, refine=True, two_stage=True),
    "deformable, huggingface": deformable_detr_huggingface(backbone="timm", decoder_layers=3, refine=True),
    "deformable, huggingface, two-stage": deformable_detr_huggingface(
        backbone="resnet", decoder_layers=2, refine=True, two_stage=True, layout="v5"
    ),
    "dino": dino_original(decoder_layers=3),
    "dino, own heads": dino_original(decoder_layers=3, shared_class_head=False, shared_box_head=False),
    "D-FINE, original": DFINE_ORIGINAL,
    "D-FINE, huggingface": dfine_huggingface(),
    "D-FINE, huggingface, version 5, heads twice": dfine_huggingface(layout="v5", twice=True),
}
NUMBERS = st.dictionaries(
    st.sampled_from(["layer", "stage", "block", "n", "step", "level"]), st.integers(0, 120), min_size=6
)


def concrete(pattern: str, numbers: dict[str, int]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: str(numbers[match[1]]), pattern)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
@given(st.data(), NUMBERS)
def test_each_spelling_of_a_source_meets_its_own_rule_and_no_other(
    table: KeyMap, data: st.DataObject, numbers: dict[str, int]
) -> None:
    rule = data.draw(st.sampled_from(table.rules))
    pattern = data.draw(st.sampled_from((rule.source, *rule.also, *rule.aliases)))
    found, places = table.rule_for(concrete(pattern, numbers))
    assert found == rule
    assert pattern.format(**places) == concrete(pattern, numbers)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
@given(st.data())
def test_loading_and_exporting_are_inverse(table: KeyMap, data: st.DataObject) -> None:
    rules = [rule for rule in table.rules if rule.op != "drop"]
    chosen = data.draw(st.lists(st.tuples(st.sampled_from(rules), NUMBERS), max_size=12))
    source = {concrete(rule.source, numbers): torch.randn(6, 2) for rule, numbers in chosen}
    wanted: dict[str, torch.Size] = {}
    for key in source:
        rule, places = table.rule_for(key)
        parts = ("q_proj", "k_proj", "v_proj") if rule.op == "split_qkv" else ("",)
        shape = torch.Size([6 // len(parts), 2])
        wanted |= {rule.target.format(qkv=part, **places): shape for part in parts}
    loaded = table.load(source, wanted)
    assert loaded.keys() == wanted.keys()
    exported = table.export(loaded)
    for key, value in list(source.items()):
        rule, places = table.rule_for(key)
        source |= {alias.format(**places): value for alias in rule.aliases}
    assert exported.keys() == source.keys()
    assert all(torch.equal(exported[key], value) for key, value in source.items())
    assert all(torch.equal(value, loaded[key]) for key, value in table.load(exported, wanted).items())


@given(st.text(max_size=30))
def test_any_other_key_is_a_fault_of_one_line(key: str) -> None:
    table = KeyMap([Rule("a.{n}.weight", "b.{n}.weight")], origin="nowhere")
    with pytest.raises(UserError) as caught:
        table.rule_for(f"x{key}")
    assert len(caught.value.line().splitlines()) == 1
