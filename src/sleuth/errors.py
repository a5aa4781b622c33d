"""The two kinds of trouble: what a user can mend (one line, exit code 2) and bugs (a traceback)."""


class UserError(Exception):
    """Something the user can mend: a missing file, a wrong key, a checkpoint of another model.

    The command line prints it as one line on stderr and ends with exit code 2.

    Args:
        what: what is wrong, in one sentence without a final stop.
        where: the file, key or object at fault.
        mend: what the user can do about it.
    """

    def __init__(self, what: str, *, where: object = None, mend: str | None = None) -> None:
        self.what = what
        self.where = where
        self.mend = mend
        super().__init__(self.line())

    def line(self) -> str:
        """The whole message as one line."""
        parts = [self.what if self.where is None else f"{self.where}: {self.what}"]
        if self.mend:
            parts.append(self.mend)
        return " ".join(". ".join(parts).split())


class UserWarningLine(UserWarning):
    """A warning meant for the user's eyes: printed as one line by the command line."""
