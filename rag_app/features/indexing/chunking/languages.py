"""How each language's grammar names what it defines."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# "scope" (a namespace, a module) gives its name to what is in it and is never a chunk itself.
Kind = Literal["function", "class", "scope"]


@dataclass(frozen=True, slots=True)
class Grammar:
    """A tree-sitter grammar by its name in `core/grammars.py`.

    definitions: node type -> kind. patterns: further queries, which capture @function or @class.
    """

    name: str
    definitions: Mapping[str, Kind] = field(default_factory=dict)
    patterns: str = ""


_FUNCTION_VALUE = "[(arrow_function) (function_expression) (generator_function)]"
_JAVASCRIPT: dict[str, Kind] = {
    "function_declaration": "function",
    "generator_function_declaration": "function",
    "method_definition": "function",
    "class_declaration": "class",
}
_JAVASCRIPT_PATTERNS = f"""
(variable_declarator name: (identifier) value: {_FUNCTION_VALUE}) @function
(variable_declarator name: (identifier) value: (class)) @class
(assignment_expression left: (member_expression) right: {_FUNCTION_VALUE}) @function
(pair key: (property_identifier) value: {_FUNCTION_VALUE}) @function
"""
_TYPESCRIPT: dict[str, Kind] = {
    **_JAVASCRIPT,
    "abstract_class_declaration": "class",
    "interface_declaration": "class",
    "enum_declaration": "class",
    "internal_module": "scope",
}
_TYPESCRIPT_PATTERNS = f"{_JAVASCRIPT_PATTERNS}\n(public_field_definition name: (_) value: {_FUNCTION_VALUE}) @function"
_C: dict[str, Kind] = {"function_definition": "function"}
_C_PATTERNS = """
(struct_specifier body: (_)) @class
(union_specifier body: (_)) @class
(enum_specifier body: (_)) @class
"""

GRAMMARS: Mapping[str, Grammar] = {
    "python": Grammar("python", {"function_definition": "function", "class_definition": "class"}),
    "javascript": Grammar(
        "javascript",
        _JAVASCRIPT,
        f"{_JAVASCRIPT_PATTERNS}\n(field_definition property: (_) value: {_FUNCTION_VALUE}) @function",
    ),
    "typescript": Grammar("typescript", _TYPESCRIPT, _TYPESCRIPT_PATTERNS),
    "tsx": Grammar("tsx", _TYPESCRIPT, _TYPESCRIPT_PATTERNS),
    "java": Grammar(
        "java",
        {
            "method_declaration": "function",
            "constructor_declaration": "function",
            "compact_constructor_declaration": "function",
            "class_declaration": "class",
            "interface_declaration": "class",
            "enum_declaration": "class",
            "record_declaration": "class",
            "annotation_type_declaration": "class",
        },
    ),
    "go": Grammar(
        "go",
        {"function_declaration": "function", "method_declaration": "function"},
        "(type_spec type: [(struct_type) (interface_type)]) @class",
    ),
    "rust": Grammar(
        "rust",
        {
            "function_item": "function",
            "macro_definition": "function",
            "impl_item": "class",
            "struct_item": "class",
            "enum_item": "class",
            "union_item": "class",
            "trait_item": "class",
        },
        "(mod_item body: (_)) @scope",
    ),
    "c": Grammar("c", _C, _C_PATTERNS),
    "cpp": Grammar(
        "cpp", {**_C, "namespace_definition": "scope"}, f"{_C_PATTERNS}\n(class_specifier body: (_)) @class"
    ),
    "csharp": Grammar(
        "csharp",
        {
            "method_declaration": "function",
            "constructor_declaration": "function",
            "destructor_declaration": "function",
            "operator_declaration": "function",
            "local_function_statement": "function",
            "class_declaration": "class",
            "interface_declaration": "class",
            "struct_declaration": "class",
            "enum_declaration": "class",
            "record_declaration": "class",
            "namespace_declaration": "scope",
        },
        "(property_declaration accessors: (_)) @function",
    ),
    "ruby": Grammar(
        "ruby", {"method": "function", "singleton_method": "function", "class": "class", "module": "class"}
    ),
    "php": Grammar(
        "php",
        {
            "function_definition": "function",
            "method_declaration": "function",
            "class_declaration": "class",
            "interface_declaration": "class",
            "trait_declaration": "class",
            "enum_declaration": "class",
        },
    ),
    "kotlin": Grammar(
        "kotlin",
        {
            "function_declaration": "function",
            "secondary_constructor": "function",
            "class_declaration": "class",
            "object_declaration": "class",
            "companion_object": "class",
        },
    ),
    "swift": Grammar(
        "swift",
        {
            "function_declaration": "function",
            "init_declaration": "function",
            "deinit_declaration": "function",
            "class_declaration": "class",
            "protocol_declaration": "class",
        },
    ),
    "scala": Grammar(
        "scala",
        {
            "function_definition": "function",
            "class_definition": "class",
            "object_definition": "class",
            "trait_definition": "class",
            "enum_definition": "class",
        },
    ),
    "bash": Grammar("bash", {"function_definition": "function"}),
    "lua": Grammar(
        "lua",
        {"function_declaration": "function"},
        "(assignment_statement (variable_list) (expression_list (function_definition))) @function",
    ),
}
