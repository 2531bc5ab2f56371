"""What a file defines, and on which lines: the tree of its definitions, by tree-sitter."""

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from tree_sitter import Node, Query, QueryCursor

from rag_app.core import grammars
from rag_app.features.indexing.chunking.languages import GRAMMARS

# A signature or a first line of documentation beyond this says little more, and takes the window of the code.
MAX_HEADER_CHARS = 200

# Nobody writes deeper; generated or hostile code does, and recursion has its end.
MAX_DEPTH = 40

# What stands around a definition and belongs to it, where nothing else stands in it.
_WRAPPERS = {
    "decorated_definition",
    "export_statement",
    "template_declaration",
    "type_declaration",
    "type_definition",
    "lexical_declaration",
    "variable_declaration",
    "expression_statement",
    "declaration",
}
_LEADING = re.compile(r"comment|^attribute_item$|^decorator$|^annotation$|^attribute_list$")
_COMMENT_MARKS = re.compile(r"^\s*(?:/\*\*?|\*/|\*|///?!?|#+|--+|;+|\"\"\"|''')?\s?|\s*(?:\*/)\s*$")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Definition:
    """A named stretch of lines (from 1, both ends included), its comments and decorators among them.

    kind: "function", "class", "scope" or "section". name: its own; signature, doc: one line each, may be "".
    """

    kind: str
    name: str
    start: int
    end: int
    signature: str = ""
    doc: str = ""
    children: tuple["Definition", ...] = field(default=())


def outline(text: str, language: str) -> tuple[Definition, ...]:
    """The definitions of a file, outermost first, in order, none overlapping another. Empty where no grammar serves.

    A syntax error costs at most the definitions that it touches: tree-sitter parses what it can.
    """
    grammar = GRAMMARS.get(language)
    if grammar is None:
        return ()
    tree = grammars.parser(grammar.name).parse(text.encode("utf-8", "replace"))
    captured = QueryCursor(_query(language)).captures(tree.root_node)
    found = [(node, kind) for kind, nodes in captured.items() for node in nodes]
    found.sort(key=lambda pair: (pair[0].start_byte, -pair[0].end_byte))
    return _disjoint(_nest(found), 1, text.count("\n") + 1)


@functools.cache
def _query(language: str) -> Query:
    grammar = GRAMMARS[language]
    simple = "\n".join(f"({node}) @{kind}" for node, kind in grammar.definitions.items())
    return Query(grammars.grammar(grammar.name), f"{simple}\n{grammar.patterns}")


def _nest(found: Sequence[tuple[Node, str]], depth: int = 1) -> tuple[Definition, ...]:
    """found: nodes, each before those that it contains. Those deeper than MAX_DEPTH are code of the one above."""
    top: list[Definition] = []
    position = 0
    while position < len(found):
        node, kind = found[position]
        inner = position + 1
        while inner < len(found) and found[inner][0].start_byte < node.end_byte:
            inner += 1
        definition = _definition(node, kind)
        inside = _nest(found[position + 1 : inner], depth + 1) if depth < MAX_DEPTH else ()
        top.append(replace(definition, children=inside))
        position = inner
    return tuple(top)


def _definition(node: Node, kind: str) -> Definition:
    outer = _outermost(node)
    first = outer
    for sibling in _leading(outer):
        first = sibling
    return Definition(
        kind=kind,
        name=_name(node, outer),
        start=first.start_point.row + 1,
        end=_last_line(outer),
        signature=_signature(node),
        doc=_doc(node, first, outer),
    )


def _outermost(node: Node) -> Node:
    outer = node
    while (parent := outer.parent) is not None and parent.type in _WRAPPERS:
        if parent.type.endswith("_declaration") and parent.named_child_count > 1:
            break
        outer = parent
    return outer


def _last_line(node: Node) -> int:
    # A node that ends with its newline ends at column 0 of the next row.
    return node.end_point.row + (1 if node.end_point.column > 0 else 0) or 1


def _leading(node: Node) -> Iterator[Node]:
    """Comments, decorators and attributes directly above, nearest first."""
    current = node
    while (above := current.prev_sibling) is not None and _LEADING.search(above.type):
        if _last_line(above) < current.start_point.row:
            return
        before = above.prev_sibling
        if before is not None and before.end_point.row == above.start_point.row and before.end_point.column > 0:
            return  # a remark at the end of another line
        if above.end_point.row == current.start_point.row and above.start_point.row == current.start_point.row:
            return
        yield above
        current = above


def _name(node: Node, outer: Node) -> str:
    named = node.child_by_field_name("name") or node.child_by_field_name("key") or node.child_by_field_name("property")
    if node.type == "impl_item":
        named = node.child_by_field_name("type")
        named = (named.child_by_field_name("type") if named is not None else None) or named
    if named is None:
        named = node.child_by_field_name("left") or _declared(node) or _declared(outer)
    if named is None:
        wanted = ("identifier", "simple_identifier", "type_identifier", "variable_list", "constant")
        named = next((child for child in node.named_children if child.type in wanted), None)
    name = _one_line(named).replace("::", ".") if named is not None else ""
    receiver = node.child_by_field_name("receiver") if node.type == "method_declaration" else None
    if receiver is not None:
        # Go: "(p *Pool[T])" names the type that the method belongs to.
        owner = re.search(r"(\w+)\s*(?:\[[^\]]*\])?\s*\)$", _one_line(receiver))
        name = f"{owner.group(1)}.{name}" if owner else name
    return name[:MAX_HEADER_CHARS]


def _declared(node: Node) -> Node | None:
    """C and C++: the name at the end of a chain of declarators."""
    current = node.child_by_field_name("declarator")
    while current is not None and (inner := current.child_by_field_name("declarator")) is not None:
        current = inner
    return current


def _signature(node: Node) -> str:
    body = node.child_by_field_name("body") or _body_of_value(node)
    raw = (node.text or b"").decode("utf-8", "replace")
    if body is not None:
        raw = (node.text or b"")[: body.start_byte - node.start_byte].decode("utf-8", "replace")
    else:
        raw = raw.split("\n", 1)[0]
    return _SPACE.sub(" ", raw).strip().rstrip("{").rstrip()[:MAX_HEADER_CHARS]


def _body_of_value(node: Node) -> Node | None:
    value = node.child_by_field_name("value") or node.child_by_field_name("right")
    return value.child_by_field_name("body") if value is not None else None


def _doc(node: Node, first: Node, outer: Node) -> str:
    """The first line that says something: of the docstring, else of the comments above."""
    body = node.child_by_field_name("body")
    if body is not None and body.named_child_count:
        statement = body.named_children[0]
        if statement.type == "expression_statement" and statement.named_child_count:
            statement = statement.named_children[0]
        if statement.type == "string":
            return _first_words((statement.text or b"").decode("utf-8", "replace"))
    if first.start_byte < outer.start_byte and "comment" in first.type:
        return _first_words((first.text or b"").decode("utf-8", "replace"))
    return ""


def _first_words(raw: str) -> str:
    for line in raw.strip().strip("rRbBuUfF").strip("\"'").splitlines():
        words = _SPACE.sub(" ", _COMMENT_MARKS.sub("", line)).strip().strip("\"'").strip()
        if any(character.isalnum() for character in words):
            return words[:MAX_HEADER_CHARS]
    return ""


def _one_line(node: Node) -> str:
    return _SPACE.sub(" ", (node.text or b"").decode("utf-8", "replace")).strip()


def _disjoint(definitions: Sequence[Definition], start: int, end: int) -> tuple[Definition, ...]:
    """Keep lines apart: of two definitions on one line, the first has it. One that is left without lines goes."""
    kept: list[Definition] = []
    free = start
    for definition in definitions:
        first, last = max(definition.start, free), min(definition.end, end)
        if first <= last:
            # Of a class that is one line, the class is to be found, not the first of its methods.
            children = _disjoint(definition.children, first, last) if first < last else ()
            kept.append(replace(definition, start=first, end=last, children=children))
            free = last + 1
    return tuple(kept)
