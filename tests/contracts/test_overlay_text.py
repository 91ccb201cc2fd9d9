"""How an overlay is written, and what it says key by key."""

from __future__ import annotations

import json

from contracts.overlay import canonical, leaves


def test_an_overlay_is_written_in_one_way() -> None:
    one = {"b": {"d": [1, "é"], "c": None}, "a": 0.1}
    assert canonical(one) == '{"a":0.1,"b":{"c":null,"d":[1,"é"]}}'
    assert canonical(json.loads(canonical(one))) == canonical(one)


def test_what_it_says_goes_by_the_paths_of_its_keys() -> None:
    said = {"a": 1, "b": {"c": {"d": None}, "e": {}}, "f": [{"g": 1}], "h": []}
    assert leaves(said) == {"a": 1, "b.c.d": None, "f": [{"g": 1}], "h": []}
