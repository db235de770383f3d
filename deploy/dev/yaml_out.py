"""Writes a configuration as YAML: mappings laid over each other, then as text. Standard library only."""

from __future__ import annotations

import json
import re
from typing import Any, Mapping


def deep_merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """base with override laid over it; mappings are merged, everything else is replaced, None removes the key."""
    merged = dict(base)
    for key, value in override.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = deep_merge(merged[key], value)
        else:
            merged[key] = value
    return merged


_PLAIN = re.compile(r"(?!(?i:true|false|yes|no|on|off|null|y|n)$)[A-Za-z][\w.-]*|[0-9.]+[a-zA-Z]+")


def to_yaml(value: Any, indent: str = "") -> str:
    """Block YAML of nested dicts, lists and scalars: as much of YAML as a configuration needs."""
    if isinstance(value, Mapping):
        return "".join(f"{indent}{key}:{_yaml_below(item, indent)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return "".join(f"{indent}-{_yaml_below(item, indent)}" for item in value)
    raise TypeError(f"a mapping or a list is wanted, not {value!r}")


def _yaml_below(value: Any, indent: str) -> str:
    if isinstance(value, (Mapping, list, tuple)):
        return f"\n{to_yaml(value, indent + '  ')}" if value else (" {}\n" if isinstance(value, Mapping) else " []\n")
    if isinstance(value, (bool, int, float)):
        return f" {json.dumps(value)}\n"
    text = str(value)
    return f" {text}\n" if _PLAIN.fullmatch(text) else f" {json.dumps(text, ensure_ascii=False)}\n"
