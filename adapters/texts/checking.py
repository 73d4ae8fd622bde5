"""Whether somebody's words may be said: they name known variables only, and do nothing but show and choose.

The renderer's sandbox keeps words from reaching into the program; that they neither loop nor compute keeps them from
tying it up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from jinja2 import TemplateSyntaxError, nodes
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import SandboxedEnvironment

from models.errors import FieldError

REQUIRED: Final = ("registration",)
"""What each of them must say: the doctor's registration (Telemedicine Practice Guidelines 2020, 3.2)."""

_ALLOWED: Final = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Const,
    nodes.If,
    nodes.CondExpr,
    nodes.And,
    nodes.Or,
    nodes.Not,
)
_environment: Final = SandboxedEnvironment(autoescape=False)


def word_problems(words: Mapping[str, str], variables: Collection[str], *, required: bool) -> list[FieldError]:
    """What is wrong with each of these texts, by the name of its field; `required` where they must name all that is."""
    return [problem for field, text in words.items() for problem in _problems(field, text, variables, required)]


def _problems(field: str, text: str, variables: Collection[str], required: bool) -> Iterator[FieldError]:  # noqa: FBT001
    try:
        tree = _environment.parse(text)
    except TemplateSyntaxError as error:
        yield FieldError(field, "syntax", f"cannot be read, line {error.lineno}")
        return
    if any(not isinstance(node, _ALLOWED) for node in _nodes(tree)):
        yield FieldError(field, "not_allowed", "may show variables and choose with if, and nothing else")
        return
    named = find_undeclared_variables(tree)
    for name in sorted(named - set(variables)):
        yield FieldError(field, "unknown_variable", f"names {name}, which is none of {', '.join(sorted(variables))}")
    if required and field != "subject":
        for name in REQUIRED:
            if name in variables and name not in named:
                yield FieldError(field, "missing_variable", f"must name {name}")


def _nodes(tree: nodes.Node) -> Iterator[nodes.Node]:
    yield tree
    for child in tree.iter_child_nodes():
        yield from _nodes(child)
