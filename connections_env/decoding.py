"""Text of puzzle files -> values in which words stay as they were written. Pure.

`8.0`, `1e3`, `NO` and `null` may all be items of a board, so numbers come as their text, and YAML knows nothing but
text. JSON's true, false and null come as such, and objects that name a key twice as `Unreadable`.
"""

import ast
import json
import warnings
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

# What may part words that are given as one text, those first that words hold least often.
_SEPARATORS = ("\n", "|", ";", ", ", ",")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands where something could not be read; the reason."""

    reason: str


class Null(str):
    """An unquoted null of YAML: a word among the items, nothing anywhere else."""

    __slots__ = ()


def from_json(text: str) -> Any:
    """Raises ValueError, RecursionError."""
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> Any:
    value = dict(pairs)
    # Whichever of two groups of one name is meant, the other would be lost without a word.
    return value if len(value) == len(pairs) else _twice([name for name, _ in pairs])


def _twice(names: list[Any]) -> Unreadable:
    return Unreadable(f"the same key twice: {str(next(name for name in names if names.count(name) > 1))[:40]!r}")


def from_cell(text: str) -> Any:
    """The list or mapping that a table's cell holds as text: as JSON, or as Python prints it (what pandas writes).

    Raises ValueError, RecursionError.
    """
    try:
        return from_json(text)
    except ValueError:
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # backslashes that escape nothing
            tree = ast.parse(text.strip(), mode="eval")
            return ast.literal_eval(_AsWritten(text.strip()).visit(tree))
    except (SyntaxError, MemoryError, TypeError) as error:  # the second is what the parser raises for deep nesting
        raise ValueError(str(error)) from None


def listed(value: Any) -> list[Any]:
    """A list, or what the rarest of the separators in a text parts: `1,000, 20,000` are two numbers."""
    if not isinstance(value, str) or isinstance(value, Null):
        return list(value) if isinstance(value, list | tuple) else []
    if value.lstrip()[:1] in ("[", "(", "{"):
        with suppress(ValueError, RecursionError):
            return listed(from_cell(value))
        return []
    separator = next((one for one in _SEPARATORS if one in value), None)
    return [part.strip() for part in value.split(separator) if part.strip()] if separator else []


class _AsWritten(ast.NodeTransformer):
    """Puts a number's own text in its place."""

    def __init__(self, text: str):
        self.text = text

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return self._text_of(node) if type(node.value) in (int, float, complex) else node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        return self._text_of(node) if isinstance(node.operand, ast.Constant) else node

    def _text_of(self, node: ast.expr) -> ast.Constant:
        return ast.Constant(ast.get_source_segment(self.text, node))


def from_yaml(text: str) -> list[Any]:
    """The documents of a YAML text. Raises ValueError in one line, RecursionError."""
    import yaml

    try:
        # The C loader is five times as fast and overflows the stack on deep nesting, so it is not used.
        return [_value(node, {}) for node in yaml.compose_all(text, Loader=yaml.BaseLoader) if node is not None]
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"{where}{error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ValueError(str(error).splitlines()[0]) from None


def _value(node: Any, made: dict[int, Any]) -> Any:
    """The value of a node. Aliases are one node in several places, or within itself, and so become one value."""
    if id(node) in made:
        return made[id(node)]
    value: Any
    if node.id == "scalar":
        is_null = node.style is None and node.value in ("", "~", "null", "Null", "NULL")
        value = made[id(node)] = Null(node.value) if is_null else node.value
    elif node.id == "sequence":
        value = made[id(node)] = []
        value += [_value(child, made) for child in node.value]
    else:
        value = made[id(node)] = {}
        names = [_value(name, made) for name, _ in node.value]
        if not all(isinstance(name, Hashable) for name in names):
            raise ValueError(f"line {node.start_mark.line + 1}: a key that is no text")
        value |= {name: _value(child, made) for name, (_, child) in zip(names, node.value, strict=True)}
        if len(value) < len(names):
            value = made[id(node)] = _twice(names)
    return value
