"""The engine behind weight loading: a table of rules that takes every key of one layout to another, both ways.

A rule names a source and a target pattern with placeholders (``{layer}``) and an operation from a closed set. Loading
is total: every source key meets exactly one rule, every target is filled exactly once, a drop states its reason. Where
the source holds one tensor under several keys, the rule names them all.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sleuth.errors import UserError

Op = Literal["identity", "split_qkv", "split_kv", "stack", "row", "drop"]
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
STACKED: Mapping[str, tuple[str, ...]] = {"qkv": ("q_proj", "k_proj", "v_proj"), "kv": ("k_proj", "v_proj")}
"""Projections that other layouts keep as one tensor, in their order there."""


@dataclass(frozen=True)
class Rule:
    """One line of a key map.

    Args:
        source: pattern of the foreign key; ``{name}`` stands for a number.
        target: pattern of our key with the same placeholders; empty for a drop.
        op: identity; split_qkv (one stacked tensor to three: the target holds ``{qkv}``); split_kv (to two, of keys and
            of values: the target holds ``{kv}``); stack (several tensors to one, one below the other: the source holds
            ``{part}``); row (a matrix of one row to a vector); drop.
        reason: why a key is dropped, or what is worth knowing.
        also: other spellings of the source with the same placeholders, read but never written.
        aliases: further keys under which the source holds the same tensor. One of the keys is enough to read it; those
            that are there must agree; all are written.
        parts: what ``{part}`` stands for, in the order of stacking; all of them have as many rows.
    """

    source: str
    target: str = ""
    op: Op = "identity"
    reason: str = ""
    also: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.op == "drop" and not self.reason:
            raise ValueError(f"the drop of {self.source} states no reason")
        if self.op != "drop":
            wanted = set(_PLACEHOLDER.findall(self.target)) - STACKED.keys()
            for source in (self.source, *self.also, *self.aliases):
                if set(_PLACEHOLDER.findall(source)) - {"part"} != wanted:
                    raise ValueError(f"{source} and {self.target} have different placeholders")
        if self.aliases and self.op != "identity":
            raise ValueError(f"{self.source} has aliases, which only a rule of identity can have")
        for name in STACKED:
            if (self.op == f"split_{name}") != (f"{{{name}}}" in self.target):
                raise ValueError(f"{self.target}: a target holds {{{name}}} exactly where the op is split_{name}")
        if not (self.op == "stack") == ("{part}" in self.source) == (len(self.parts) > 1) or (self.parts and self.also):
            raise ValueError(f"{self.source}: a source holds {{part}} exactly where the op is stack, with parts alone")

    @property
    def split(self) -> str | None:
        """Which stack the source is, as its placeholder is called, or None where it is none."""
        return self.op.removeprefix("split_") if self.op.startswith("split_") else None


def _pattern(text: str) -> re.Pattern[str]:
    parts = _PLACEHOLDER.split(text)
    return re.compile("".join(re.escape(p) if i % 2 == 0 else rf"(?P<{p}>\d+)" for i, p in enumerate(parts)) + r"\Z")


class KeyMap:
    """A table of rules, usable in both directions.

    Args:
        rules: the table.
        origin: whose layout the sources are, for messages.
    """

    def __init__(self, rules: Iterable[Rule], *, origin: str) -> None:
        self.rules = tuple(rules)
        self.origin = origin
        self._forward = [
            (_pattern(source.replace("{part}", part)), rule, part)
            for rule in self.rules
            for source in dict.fromkeys((rule.source, *rule.also, *rule.aliases))
            for part in rule.parts or ("",)
        ]
        self._backward = [
            (_pattern(rule.target.replace(f"{{{rule.split}}}", part)), rule, part)
            for rule in self.rules
            if rule.op != "drop"
            for part in (("",) if rule.split is None else STACKED[rule.split])
        ]

    def rule_for(self, key: str) -> tuple[Rule, dict[str, str]]:
        """The one rule that a source key meets, and what its placeholders stand for.

        Raises:
            UserError: no rule or more than one fits.
        """
        found = [
            (rule, m.groupdict() | ({"part": part} if part else {}))
            for pattern, rule, part in self._forward
            if (m := pattern.match(key))
        ]
        if len(found) != 1:
            what = "is unknown" if not found else f"meets {len(found)} rules"
            raise UserError(f"the key {key!r} {what} in the key map of {self.origin}", mend="check the architecture")
        return found[0]

    def load(self, source: Mapping[str, Tensor], wanted: Mapping[str, torch.Size]) -> dict[str, Tensor]:
        """Tensors of the foreign layout under our names.

        Args:
            source: the foreign state dict.
            wanted: our keys and their shapes.

        Raises:
            UserError: a key that no rule knows, a target filled twice or not at all, aliases that differ, or a shape
                that differs.
        """
        filled: dict[str, Tensor] = {}
        names: dict[str, dict[str, str]] = {}  # of each target, under which of its names it was found, and the key
        stacks: dict[str, dict[str, Tensor]] = {}
        for key, tensor in source.items():
            rule, places = self.rule_for(key)
            if rule.op == "stack":
                target = rule.target.format(**places)
                stack = stacks.setdefault(target, {})
                if target in filled or places["part"] in stack:
                    raise UserError(f"{key!r} fills {target!r} a second time", where=self.origin)
                stack[places["part"]] = tensor
                if len(stack) == len(rule.parts):
                    filled[target] = _stacked(rule, stack, target)
                continue
            name = next((alias for alias in rule.aliases if alias.format(**places) == key), rule.source)
            for target, value in _apply(rule, places, tensor):
                others = names.setdefault(target, {})
                if others and (name in others or not rule.aliases):
                    raise UserError(f"{key!r} fills {target!r} a second time", where=self.origin)
                if others and not torch.equal(filled[target], value):
                    what = f"{key!r} and {next(iter(others.values()))!r} should be the same, but differ"
                    raise UserError(what, where=self.origin, mend="check the architecture")
                others[name] = key
                filled.setdefault(target, value)
        if surplus := sorted(filled.keys() - wanted.keys()):
            raise UserError(f"the model has no {_first(surplus)}", where=self.origin, mend="check the configuration")
        if missing := sorted(wanted.keys() - filled.keys()):
            raise UserError(f"no weights for {_first(missing)}", where=self.origin, mend="check the configuration")
        for key, shape in wanted.items():
            if filled[key].shape != shape:
                raise UserError(
                    f"{key!r} has shape {list(filled[key].shape)}, but the model wants {list(shape)}",
                    where=self.origin,
                    mend="check the configuration",
                )
        return filled

    def export(self, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our tensors under the foreign names: the inverse of `load`, without what was dropped.

        Raises:
            UserError: a key of ours that no rule leads to.
        """
        exported: dict[str, Tensor] = {}
        stacked: dict[tuple[str, str], dict[str, Tensor]] = {}
        for key, tensor in ours.items():
            rule, places, projection = self._rule_to(key)
            source = rule.source.format(**places | {"part": "{part}"})
            if rule.op == "stack":
                exported |= {
                    rule.source.format(**places | {"part": part}): rows.contiguous()
                    for part, rows in zip(rule.parts, tensor.chunk(len(rule.parts)), strict=True)
                }
            elif rule.split is not None:
                stacked.setdefault((source, rule.split), {})[projection] = tensor
            elif rule.op == "row":
                exported[source] = tensor[None]
            else:
                exported[source] = tensor
                exported |= {alias.format(**places): tensor for alias in rule.aliases}
        for (source, split), parts in stacked.items():
            exported[source] = torch.cat([parts[name] for name in STACKED[split]])
        return exported

    def _rule_to(self, key: str) -> tuple[Rule, dict[str, str], str]:
        found = [
            (rule, match.groupdict(), part) for pattern, rule, part in self._backward if (match := pattern.match(key))
        ]
        if len(found) != 1:
            raise UserError(f"{len(found)} rules lead to {key!r} in the key map of {self.origin}")
        return found[0]


def _apply(rule: Rule, places: dict[str, str], tensor: Tensor) -> list[tuple[str, Tensor]]:
    if rule.op == "drop":
        return []
    if rule.split is not None:
        names = STACKED[rule.split]
        if tensor.dim() == 0 or not len(tensor) or len(tensor) % len(names):
            letters = " and ".join(", ".join(rule.split).rsplit(", ", 1))
            what = f"{rule.source.format(**places)!r} has shape {list(tensor.shape)}, which is no stack of {letters}"
            raise UserError(what, mend="check the architecture")
        parts = zip(names, tensor.chunk(len(names), dim=0), strict=True)
        return [(rule.target.format(**{rule.split: name}, **places), part) for name, part in parts]
    if rule.op == "row":
        if tensor.dim() != 2 or len(tensor) != 1:
            what = f"{rule.source.format(**places)!r} has shape {list(tensor.shape)}, which is not one row"
            raise UserError(what, mend="check the architecture")
        tensor = tensor[0]
    return [(rule.target.format(**places), tensor)]


def _stacked(rule: Rule, stack: Mapping[str, Tensor], target: str) -> Tensor:
    shapes = {tuple(each.shape) for each in stack.values()}
    if len(shapes) > 1 or not next(iter(shapes)):
        what = f"the parts {', '.join(rule.parts)} of {target!r} have the shapes {sorted(map(list, shapes))}"
        raise UserError(what, mend="check the architecture")
    return torch.cat([stack[part] for part in rule.parts])


def _first(keys: list[str]) -> str:
    more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
    return f"{keys[0]!r}{more}"
