"""The key-map engine: total, one to one, and clear about what does not fit."""

import pytest
import torch
from torch import Tensor

from sleuth.errors import UserError
from sleuth.weights.keymap import KeyMap, Rule

TABLE = KeyMap(
    [
        Rule("stem.weight", "body.stem.weight"),
        Rule("blocks.{layer}.attn.in_proj_weight", "layers.{layer}.attention.{qkv}.weight", op="split_qkv"),
        Rule("blocks.{layer}.fc{n}.bias", "layers.{layer}.linear{n}.bias"),
        Rule("blocks.{layer}.counter", op="drop", reason="counts batches; nothing reads it"),
    ],
    origin="nowhere/model",
)


def foreign() -> dict[str, Tensor]:
    keys: dict[str, Tensor] = {"stem.weight": torch.randn(2, 3)}
    for layer in (0, 11):
        keys[f"blocks.{layer}.attn.in_proj_weight"] = torch.randn(12, 4)
        keys[f"blocks.{layer}.fc1.bias"] = torch.randn(5)
        keys[f"blocks.{layer}.fc2.bias"] = torch.randn(4)
        keys[f"blocks.{layer}.counter"] = torch.tensor(7)
    return keys


def wanted() -> dict[str, torch.Size]:
    shapes = {"body.stem.weight": torch.Size([2, 3])}
    for layer in (0, 11):
        for part in ("q_proj", "k_proj", "v_proj"):
            shapes[f"layers.{layer}.attention.{part}.weight"] = torch.Size([4, 4])
        shapes[f"layers.{layer}.linear1.bias"] = torch.Size([5])
        shapes[f"layers.{layer}.linear2.bias"] = torch.Size([4])
    return shapes


def test_loading_fills_every_target() -> None:
    source = foreign()
    loaded = TABLE.load(source, wanted())
    assert {key: value.shape for key, value in loaded.items()} == wanted()
    assert torch.equal(loaded["body.stem.weight"], source["stem.weight"])
    assert torch.equal(loaded["layers.11.linear2.bias"], source["blocks.11.fc2.bias"])
    q, k, v = source["blocks.0.attn.in_proj_weight"].chunk(3)
    for name, part in (("q_proj", q), ("k_proj", k), ("v_proj", v)):
        assert torch.equal(loaded[f"layers.0.attention.{name}.weight"], part)


def test_export_is_the_inverse() -> None:
    source = foreign()
    exported = TABLE.export(TABLE.load(source, wanted()))
    kept = {key: value for key, value in source.items() if not key.endswith("counter")}
    assert exported.keys() == kept.keys()
    assert all(torch.equal(exported[key], value) for key, value in kept.items())


def test_a_key_that_no_rule_knows() -> None:
    with pytest.raises(UserError, match=r"'head.weight' is unknown in the key map of nowhere/model"):
        TABLE.load({**foreign(), "head.weight": torch.zeros(1)}, wanted())
    with pytest.raises(UserError, match="is unknown"):
        TABLE.rule_for("stem.weight.extra")
    with pytest.raises(UserError, match="is unknown"):
        TABLE.rule_for("blocks.first.counter")


def test_a_dot_in_a_pattern_is_a_dot() -> None:
    with pytest.raises(UserError, match="is unknown"):
        TABLE.rule_for("stem_weight")


def test_a_key_that_meets_two_rules() -> None:
    twice = KeyMap([Rule("a.{n}", "b.{n}"), Rule("a.0", "c")], origin="nowhere")
    with pytest.raises(UserError, match=r"'a.0' meets 2 rules"):
        twice.rule_for("a.0")


def test_a_target_that_is_filled_twice() -> None:
    twice = KeyMap([Rule("a", "c"), Rule("b", "c")], origin="nowhere")
    with pytest.raises(UserError, match="'b' fills 'c' a second time"):
        twice.load({"a": torch.zeros(1), "b": torch.zeros(1)}, {"c": torch.Size([1])})


def test_weights_that_are_missing() -> None:
    source = foreign()
    del source["blocks.11.fc1.bias"]
    with pytest.raises(UserError, match=r"no weights for 'layers.11.linear1.bias'"):
        TABLE.load(source, wanted())
    with pytest.raises(UserError, match="and 10 more"):
        TABLE.load({}, wanted())


def test_weights_that_the_model_has_no_place_for() -> None:
    fewer = {key: shape for key, shape in wanted().items() if ".11." not in key}
    with pytest.raises(UserError, match=r"the model has no 'layers.11.attention.k_proj.weight' and 4 more"):
        TABLE.load(foreign(), fewer)


def test_weights_of_another_shape() -> None:
    source = foreign() | {"stem.weight": torch.zeros(3, 2)}
    with pytest.raises(UserError, match=r"'body.stem.weight' has shape \[3, 2\], but the model wants \[2, 3\]"):
        TABLE.load(source, wanted())


@pytest.mark.parametrize("shape", [(13, 4), (4, 4), (2, 4), (1, 4), ()])
def test_a_stack_that_does_not_split_in_three(shape: tuple[int, ...]) -> None:
    source = foreign() | {"blocks.0.attn.in_proj_weight": torch.zeros(shape)}
    with pytest.raises(UserError, match="no stack of q, k and v"):
        TABLE.load(source, wanted())


def test_an_export_of_a_key_that_no_rule_leads_to() -> None:
    with pytest.raises(UserError, match=r"0 rules lead to 'head.weight'"):
        TABLE.export({"head.weight": torch.zeros(1)})


def test_other_spellings_are_read_and_never_written() -> None:
    table = KeyMap([Rule("new.{n}", "ours.{n}", also=("old.{n}", "older.x{n}"))], origin="nowhere")
    tensor = torch.ones(2)
    for key in ("new.3", "old.3", "older.x3"):
        loaded = table.load({key: tensor}, {"ours.3": torch.Size([2])})
        assert list(table.export(loaded)) == ["new.3"]
    with pytest.raises(UserError, match=r"'old.3' fills 'ours.3' a second time"):
        table.load({"new.3": tensor, "old.3": tensor}, {"ours.3": torch.Size([2])})
    with pytest.raises(ValueError, match=r"old.{m} and ours.{n} have different placeholders"):
        Rule("new.{n}", "ours.{n}", also=("old.{m}",))


def test_aliases_are_one_tensor_under_several_keys() -> None:
    table = KeyMap(
        [Rule("head.{n}", "ours.{n}", also=("old.{n}",), aliases=("deep.{n}", "deeper.{n}"))], origin="nowhere"
    )
    tensor, wanted = torch.ones(2), {"ours.3": torch.Size([2])}
    for found in (["head.3"], ["deeper.3"], ["deep.3", "old.3"], ["head.3", "deep.3", "deeper.3"]):
        loaded = table.load({key: tensor.clone() for key in found}, wanted)
        exported = table.export(loaded)
        assert list(exported) == ["head.3", "deep.3", "deeper.3"]
        assert all(torch.equal(value, tensor) for value in exported.values())
    with pytest.raises(UserError, match=r"'deep.3' and 'head.3' should be the same, but differ"):
        table.load({"head.3": tensor, "deep.3": 2 * tensor}, wanted)
    with pytest.raises(UserError, match=r"'old.3' fills 'ours.3' a second time"):
        table.load({"head.3": tensor, "old.3": tensor}, wanted)
    with pytest.raises(ValueError, match=r"deep and ours.{n} have different placeholders"):
        Rule("head.{n}", "ours.{n}", aliases=("deep",))
    with pytest.raises(ValueError, match="only a rule of identity"):
        Rule("head", op="drop", reason="unused", aliases=("deep",))


def test_a_drop_states_its_reason() -> None:
    with pytest.raises(ValueError, match="states no reason"):
        Rule("a", op="drop")


def test_rules_that_cannot_be_inverted_are_refused() -> None:
    with pytest.raises(ValueError, match="different placeholders"):
        Rule("a.{n}", "b")
    with pytest.raises(ValueError, match="different placeholders"):
        Rule("a.{n}", "b.{m}")
    with pytest.raises(ValueError, match="qkv"):
        Rule("a", "b.{qkv}")
    with pytest.raises(ValueError, match="qkv"):
        Rule("a", "b", op="split_qkv")


def test_every_fault_is_one_line() -> None:
    with pytest.raises(UserError) as caught:
        TABLE.load({}, wanted())
    assert "\n" not in caught.value.line()


STACKS = KeyMap(
    [Rule("layer.{layer}.{part}.weight", "blocks.{layer}.qkv.weight", op="stack", parts=("query", "key", "value"))],
    origin="nowhere/model",
)


def test_parts_are_stacked_in_their_order_and_come_apart_again() -> None:
    source = {f"layer.7.{part}.weight": torch.randn(2, 3) for part in ("value", "query", "key")}
    wanted = {"blocks.7.qkv.weight": torch.Size([6, 3])}
    loaded = STACKS.load(source, wanted)
    ordered = [source[f"layer.7.{part}.weight"] for part in ("query", "key", "value")]
    assert torch.equal(loaded["blocks.7.qkv.weight"], torch.cat(ordered))
    exported = STACKS.export(loaded)
    assert exported.keys() == source.keys()
    assert all(torch.equal(exported[key], value) for key, value in source.items())


def test_a_stack_without_one_of_its_parts_is_not_filled() -> None:
    source = {f"layer.7.{part}.weight": torch.randn(2, 3) for part in ("value", "query")}
    with pytest.raises(UserError, match=r"no weights for 'blocks\.7\.qkv\.weight'"):
        STACKS.load(source, {"blocks.7.qkv.weight": torch.Size([6, 3])})


def test_parts_of_different_shapes_are_named() -> None:
    source = {f"layer.7.{part}.weight": torch.randn(n, 3) for n, part in enumerate(("query", "key", "value"), 1)}
    with pytest.raises(UserError, match=r"query, key, value of 'blocks\.7\.qkv\.weight' have the shapes"):
        STACKS.load(source, {"blocks.7.qkv.weight": torch.Size([6, 3])})


@pytest.mark.parametrize(
    "options",
    [
        {"source": "a.{part}", "target": "b", "op": "identity", "parts": ("x", "y")},
        {"source": "a", "target": "b", "op": "stack", "parts": ("x", "y")},
        {"source": "a.{part}", "target": "b", "op": "stack", "parts": ("x",)},
        {"source": "a.{part}", "target": "b", "op": "stack", "parts": ("x", "y"), "also": ("c.{part}",)},
    ],
)
def test_a_rule_of_a_stack_names_its_parts(options: dict) -> None:
    with pytest.raises(ValueError, match="part"):
        Rule(**options)


def test_a_stack_of_keys_and_values_alone() -> None:
    table = KeyMap([Rule("cross/kv.weight", "cross.{kv}.weight", op="split_kv")], origin="nowhere")
    stacked = torch.randn(6, 2)
    shapes = {f"cross.{part}.weight": torch.Size([3, 2]) for part in ("k_proj", "v_proj")}
    loaded = table.load({"cross/kv.weight": stacked}, shapes)
    assert torch.equal(loaded["cross.k_proj.weight"], stacked[:3])
    assert torch.equal(loaded["cross.v_proj.weight"], stacked[3:])
    assert torch.equal(table.export(loaded)["cross/kv.weight"], stacked)
    with pytest.raises(UserError, match="no stack of k and v"):
        table.load({"cross/kv.weight": torch.randn(5, 2)}, shapes)
    with pytest.raises(ValueError, match=r"holds {kv} exactly where the op is split_kv"):
        Rule("cross/kv.weight", "cross.{kv}.weight")


def test_a_matrix_of_one_row() -> None:
    table = KeyMap([Rule("logits_bias", "head.bias", op="row")], origin="nowhere")
    loaded = table.load({"logits_bias": torch.arange(3.0)[None]}, {"head.bias": torch.Size([3])})
    assert torch.equal(loaded["head.bias"], torch.arange(3.0))
    assert table.export(loaded)["logits_bias"].shape == (1, 3)
    with pytest.raises(UserError, match=r"has shape \[2, 3\], which is not one row"):
        table.load({"logits_bias": torch.zeros(2, 3)}, {"head.bias": torch.Size([3])})
