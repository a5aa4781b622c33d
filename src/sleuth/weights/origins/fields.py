"""Reading the fields of a foreign configuration: each value is of the right kind, or a fault that names it."""

from collections.abc import Mapping
from typing import Any

from sleuth.errors import UserError


class Fields:
    """The fields of one JSON object. Null stands for the default.

    Args:
        values: the object.
        where: the file, for messages.
        inside: the name of the object within the file, for messages.
    """

    def __init__(self, values: Mapping[str, Any], where: object, inside: str = "") -> None:
        self.values = values
        self.where = where
        self.inside = f"{inside}." if inside else ""

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def any(self, name: str, default: Any = None) -> Any:
        """The value as it stands."""
        value = self.values.get(name)
        return default if value is None else value

    def whole(self, name: str, default: int) -> int:
        """A whole number."""
        value = self.any(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.fault(name, "a whole number is wanted")
        return value

    def number(self, name: str, default: float) -> float:
        """Any number."""
        value = self.any(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.fault(name, "a number is wanted")
        return float(value)

    def truth(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self.any(name, default)
        if not isinstance(value, bool):
            raise self.fault(name, "true or false is wanted")
        return value

    def text(self, name: str, default: str) -> str:
        """A text."""
        value = self.any(name, default)
        if not isinstance(value, str):
            raise self.fault(name, "a text is wanted")
        return value

    def wholes(self, name: str, default: list[int]) -> list[int]:
        """A list of whole numbers."""
        value = self.any(name, default)
        if not isinstance(value, list | tuple) or not all(type(each) is int for each in value):
            raise self.fault(name, "a list of whole numbers is wanted")
        return list(value)

    def table(self, name: str) -> "Fields":
        """An object within this one; empty where there is none."""
        value = self.any(name, {})
        if not isinstance(value, dict):
            raise self.fault(name, "an object is wanted")
        return Fields(value, self.where, f"{self.inside}{name}")

    def expect(self, name: str, wanted: object) -> None:
        """The field has the one value that can be honoured, or is missing."""
        if name in self and self.values[name] != wanted:
            raise self.fault(name, f"only {wanted!r} is supported")

    def known(self, *names: frozenset[str]) -> None:
        """No field is any other than these, unless it is null."""
        said = {name for name, value in self.values.items() if value is not None}
        if unknown := sorted(said - frozenset().union(*names)):
            what = f"the field '{self.inside}{unknown[0]}' is unknown, so what it does to the model is unknown too"
            raise UserError(what, where=self.where, mend="remove it, if it does nothing")

    def fault(self, name: str, why: str) -> UserError:
        """The fault of one field's value."""
        shown = repr(self.values.get(name))
        shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
        return UserError(f"{self.inside}{name} = {shown} cannot be honoured: {why}", where=self.where)
