"""The sections of a recipe: from the tables of a file to settings, and back, whatever the recipe trains."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from sleuth.errors import UserError
from sleuth.training.sections import Section, Table, check_keys, fill, plain


class RecipeSections:
    """The tables of a recipe, each over what is usual for what it trains.

    Args:
        tables: the sections that are given.
        recipe: the dataclass that they make; its fields are the valid sections.
        where: the file, for messages.
        usual: of a section by its name, what differs from the defaults of its settings.
        constant: fields of the recipe that are no sections.

    Raises:
        UserError: an unknown section, named with the nearest, or a value where a section should be.
    """

    def __init__(
        self,
        tables: Mapping[str, Any],
        recipe: type,
        *,
        where: object,
        usual: Mapping[str, Table] | None = None,
        constant: Iterable[str] = (),
    ) -> None:
        check_keys(tables, _names(recipe, constant), what="section", where=where)
        for name, table in tables.items():
            if not isinstance(table, Mapping):
                raise UserError(f"{name} is not a section", where=where, mend=f"write [{name}] and its keys below")
        self.tables, self.usual, self.where = tables, usual or {}, where

    def __contains__(self, name: str) -> bool:
        """Whether a section is given."""
        return name in self.tables

    def table(self, name: str) -> Table:
        """The keys of a section, for the caller to change."""
        return {**self.usual.get(name, {}), **self.tables.get(name, {})}

    def fill(self, settings: type[Section], name: str, usual: Mapping[str, Any] | None = None) -> Section:
        """The settings of a section.

        Args:
            settings: the dataclass; its fields are the valid keys.
            name: of the section.
            usual: keys that count where they are not given.

        Raises:
            UserError: an unknown key, named with the nearest, or a wrong value.
        """
        given = self.table(name)
        kept = {key: value for key, value in (usual or {}).items() if key not in given}
        return fill(settings, given | kept, section=name, where=self.where)


def own_keys(settings: type) -> tuple[str, ...]:
    """The keys of a ``[model]`` that are no numbers of its config."""
    return tuple(each.name for each in dataclasses.fields(settings) if each.name != "config")


def take_own(table: Table, settings: type) -> Table:
    """Take out of a ``[model]`` what is no number of its config, such as its name and the model to start from."""
    return {key: table.pop(key) for key in own_keys(settings) if key in table}


def section_tables(recipe: Any, constant: Iterable[str] = ()) -> dict[str, Table]:
    """A recipe as plain tables; sections that it does without are left out."""
    sections = {name: getattr(recipe, name) for name in _names(type(recipe), constant)}
    return {name: plain(section) for name, section in sections.items() if section is not None}


def _names(recipe: type, constant: Iterable[str]) -> list[str]:
    return [each.name for each in dataclasses.fields(recipe) if each.name not in constant]
