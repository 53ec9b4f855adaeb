"""The exceptions of edgeinfer; every refusal is one of these, with one line that says what to do.

EdgeInferError
├── InputError               data, an option or a file name that was handed in does not fit
├── MissingExtraError        a command needs a package that an extra installs
├── OutputError              a file cannot be written; nothing is left half written
├── OutOfMemoryError         there is not enough memory for what is asked
└── ModelError               something about a model, with its node where one is to blame
    ├── ModelFileError       an ``.eqm`` or ONNX file is damaged or not what it says
    ├── UnsupportedError     operators that this stage cannot take, each one named
    └── QuantizationError    a value or a layer cannot be made integer

EdgeInferWarning             something works, but not as well as it could
"""

from edgeinfer.printable import printable

__all__ = [
    "EdgeInferError",
    "EdgeInferWarning",
    "InputError",
    "MissingExtraError",
    "ModelError",
    "ModelFileError",
    "OutOfMemoryError",
    "OutputError",
    "QuantizationError",
    "UnsupportedError",
]


class EdgeInferError(Exception):
    """Base of every error that edgeinfer raises on purpose.

    ``str`` of it may be printed, whatever the names in it hold.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class EdgeInferWarning(UserWarning):
    """Something works, but not as well as it could; the message says what to do, in one line.

    The command line prints each once, and lists them under ``warnings`` in its JSON.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class InputError(EdgeInferError, ValueError):
    """Data, an option or a file name that was handed in does not fit."""


class MissingExtraError(EdgeInferError, ImportError):
    """A command needs a package that is not installed.

    Parameters
    ----------
    package : str
        The import name that is missing.
    extra : str
        The extra of edgeinfer that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is not installed; install it with: pip install 'edgeinfer[{extra}]'"
        )
        self.package = package
        self.extra = extra


class OutputError(EdgeInferError, OSError):
    """A file cannot be written; what was there before is untouched."""


class OutOfMemoryError(EdgeInferError, MemoryError):
    """There is not enough memory.

    Parameters
    ----------
    what : str
        What asked for it; empty where nobody knows.
    """

    def __init__(self, what: str) -> None:
        super().__init__("there is not enough memory" + (f": {what}" if what else ""))


class ModelError(EdgeInferError):
    """Something about a model is wrong.

    Parameters
    ----------
    message : str
        What is wrong and what can be done, in one line.
    node : str or None
        The node to blame, where there is one.
    operator : str or None
        Its operator.
    """

    def __init__(
        self, message: str, *, node: str | None = None, operator: str | None = None
    ) -> None:
        where = f"{operator or 'node'} {node!r}: " if node is not None else ""
        super().__init__(where + message)
        self.message = message
        self.node = node
        self.operator = operator


class ModelFileError(ModelError):
    """An ``.eqm`` or ONNX file is damaged or not what it says."""


class UnsupportedError(ModelError):
    """Operators that this stage cannot take; the message names every node."""


class QuantizationError(ModelError):
    """A value or a layer cannot be made integer."""
