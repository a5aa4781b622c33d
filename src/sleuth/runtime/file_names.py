"""Names for written files, no two of them the same."""


class FileNames:
    """Gives out file names: the first of a name keeps it, others are numbered.

    >>> names = FileNames()
    >>> names.take("a", ".png"), names.take("A", ".png"), names.take("a", ".jpg")
    ('a.png', 'A-2.png', 'a.jpg')
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, stem: str, suffix: str) -> str:
        """A name that was not given out before, on file systems that do not tell capitals apart either."""
        name, number = f"{stem}{suffix}", 1
        while name.lower() in self._taken:
            number += 1
            name = f"{stem}-{number}{suffix}"
        self._taken.add(name.lower())
        return name
