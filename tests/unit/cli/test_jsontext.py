"""JSON without the `json` package is the same JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.cli.jsonlayout import indent, indent_text
from tiffin.cli.jsontext import decode, encode, show

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS | FLOATS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(DOCUMENTS)
def test_what_was_encoded_is_decoded(document: Any) -> None:
    assert decode(encode(document)) == document
    assert json.loads(encode(document)) == document
    assert json.loads(show(document)) == document


@given(DOCUMENTS)
def test_indenting_is_that_of_the_standard_library(document: Any) -> None:
    expected = json.dumps(document, indent=4, ensure_ascii=False)

    assert indent(document) == expected
    assert indent_text(json.dumps(document, ensure_ascii=False).encode()) == expected


def test_indented_text_keeps_its_escapes_and_numbers() -> None:
    assert indent_text(b'[{"a":"\\u0026","n":1.50}]') == (
        '[\n    {\n        "a": "\\u0026",\n        "n": 1.50\n    }\n]'
    )


@pytest.mark.parametrize("text", ["", "x", "{", "{} x", '{"a"}', "[1,]"])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        decode(text)


@pytest.mark.parametrize("text", ["{", "[1", '{"a"}', "[1,]", '"open', "tru", "", "{} x"])
def test_what_is_no_json_is_refused_without_the_json_package(text: str) -> None:
    """In an interpreter of its own: here somebody imported `json` long ago."""
    program = (
        "import sys\nsys.path.insert(0, sys.argv[1])\n"
        "from tiffin.cli.jsontext import decode\n"
        "try:\n    decode(sys.argv[2])\nexcept ValueError:\n    print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, ROOT, text],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "refused\n"


def test_bytes_that_are_no_utf8_are_replaced_as_go_does_it() -> None:
    typed = b"\xe9 \xf0\x9f\x98\x80 \\udce9".decode("utf-8", "surrogateescape")

    assert json.loads(encode([typed])) == ["\ufffd \U0001f600 \\udce9"]
