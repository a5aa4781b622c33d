"""A key map is a bijection between what it does not drop on either side."""

import re

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from sleuth.errors import UserError
from sleuth.weights.keymap import KeyMap, Rule
from sleuth.weights.maps.detr_original import DETR_ORIGINAL

RULES = [rule for rule in DETR_ORIGINAL.rules if rule.op != "drop"]
NUMBERS = st.dictionaries(st.sampled_from(["layer", "stage", "block", "n"]), st.integers(0, 120), min_size=4)


def concrete(pattern: str, numbers: dict[str, int]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: str(numbers[match[1]]), pattern)


@given(st.sampled_from(DETR_ORIGINAL.rules), NUMBERS)
def test_each_source_key_meets_its_own_rule_and_no_other(rule: Rule, numbers: dict[str, int]) -> None:
    found, places = DETR_ORIGINAL.rule_for(concrete(rule.source, numbers))
    assert found == rule
    assert rule.source.format(**places) == concrete(rule.source, numbers)


@given(st.lists(st.tuples(st.sampled_from(RULES), NUMBERS), max_size=12))
def test_loading_and_exporting_are_inverse(chosen: list[tuple[Rule, dict[str, int]]]) -> None:
    source = {concrete(rule.source, numbers): torch.randn(6, 2) for rule, numbers in chosen}
    wanted: dict[str, torch.Size] = {}
    for key in source:
        rule, places = DETR_ORIGINAL.rule_for(key)
        parts = ("q_proj", "k_proj", "v_proj") if rule.op == "split_qkv" else ("",)
        shape = torch.Size([6 // len(parts), 2])
        wanted |= {rule.target.format(qkv=part, **places): shape for part in parts}
    loaded = DETR_ORIGINAL.load(source, wanted)
    assert loaded.keys() == wanted.keys()
    exported = DETR_ORIGINAL.export(loaded)
    assert exported.keys() == source.keys()
    assert all(torch.equal(exported[key], value) for key, value in source.items())


@given(st.text(max_size=30))
def test_any_other_key_is_a_fault_of_one_line(key: str) -> None:
    table = KeyMap([Rule("a.{n}.weight", "b.{n}.weight")], origin="nowhere")
    with pytest.raises(UserError) as caught:
        table.rule_for(f"x{key}")
    assert len(caught.value.line().splitlines()) == 1
