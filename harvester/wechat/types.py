"""The record of every interface as a type, for editors and type checkers.

Rule: ``tests/typing/write_types.py`` writes the same types into the stub beside this file.

Any field may be missing, and there may be unknown ones.  The type of an object within a record is
named after both: the ``read_user_source`` of GetArticleRead's ``detail`` is
GetArticleReadDetailReadUserSource.
"""

from __future__ import annotations

from typing import Any, TypedDict

from harvester.model import Field
from harvester.wechat.interfaces import INTERFACES

_SCALARS = {"date": str, "int": int, "float": float, "str": str, "bool": bool}


def _capitalized(name: str) -> str:
    return "".join(map(str.capitalize, name.split("_")))


def _record(name: str, fields: tuple[Field, ...]) -> Any:
    hints = {each.name: _hint(name, each) for each in fields}
    made = globals()[name] = TypedDict(name, hints, total=False)
    return made


def _hint(record: str, field: Field) -> Any:
    if field.type in _SCALARS:
        return _SCALARS[field.type]
    if field.fields:
        hint = _record(f"{record}{_capitalized(field.name)}", field.fields)
    else:
        hint = _SCALARS.get(field.item, dict) if field.type == "list" else dict
    return list[hint] if field.type == "list" else hint


for _each in INTERFACES.values():
    _record(_each.record_type or _capitalized(_each.name), _each.fields)
