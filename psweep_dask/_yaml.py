"""YAML in which no key is written twice, as its standard says: PyYAML lets the last one win."""

from __future__ import annotations

from typing import Any

import yaml


class StrictLoader(yaml.SafeLoader):
    """Reads what `yaml.SafeLoader` does, but for mappings that have a key twice.

    Examples
    --------
    >>> yaml.load("{a: 1, b: 2}", Loader=StrictLoader)
    {'a': 1, 'b': 2}
    >>> yaml.load("{a: 1, a: 2}", Loader=StrictLoader)
    Traceback (most recent call last):
        ...
    yaml.constructor.ConstructorError: the key 'a' is written twice
      in "<unicode string>", line 1, column 8:
        {a: 1, a: 2}
               ^
    """

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Make a dict."""
        if isinstance(node, yaml.MappingNode):
            self._check_keys(node)
        return super().construct_mapping(node, deep=deep)

    def _check_keys(self, node: yaml.MappingNode) -> None:
        seen = set()
        for key, _ in node.value:  # "<<", which merges another mapping, may come again
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if (key.tag, key.value) in seen:
                problem = f"the key {key.value!r} is written twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add((key.tag, key.value))
