"""Write ``harvester/wechat/types.pyi`` from the types that `harvester.wechat.types` makes."""

from collections.abc import Iterator
from pathlib import Path
from types import GenericAlias
from typing import get_args, is_typeddict

from harvester.wechat import types

STUB = Path(types.__file__).with_suffix(".pyi")
HEAD = """\
# Generated from harvester/wechat/interfaces.py by tests/typing/write_types.py: do not edit.

from typing import TypedDict
"""


def stub() -> str:
    """The text of the stub."""
    made = {name: each for name, each in vars(types).items() if is_typeddict(each)}
    return HEAD + "".join("\n" + "\n".join(lines(name, each)) for name, each in made.items())


def lines(name: str, made: type) -> Iterator[str]:
    """A type as a class."""
    yield f"class {name}(TypedDict, total=False):"
    for field, hint in made.__annotations__.items():
        yield f"    {field}: {shown(hint)}"
    yield ""


def shown(hint: type | GenericAlias) -> str:
    """A hint as it is written."""
    if isinstance(hint, GenericAlias):
        return f"list[{', '.join(map(shown, get_args(hint)))}]"
    return hint.__name__


if __name__ == "__main__":
    STUB.write_text(stub())
