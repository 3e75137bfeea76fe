import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.core.filters import Filters, parse_filters
from tiffin.errors import InvalidArgument


def test_both_forms_of_the_wire_mean_the_same() -> None:
    new = parse_filters('{"label": {"a=b": true, "c": false}, "name": null}')
    old = parse_filters('{"label": ["a=b", "c"]}')
    assert new.get("label") == old.get("label") == ("a=b", "c")


@pytest.mark.parametrize(
    "text", ["x", "[]", "3", '{"a": 1}', '{"a": {"b": 1}}', '{"a": [1]}', "[" * 10_000]
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid filter"):
        parse_filters(text)


def test_an_unknown_filter_is_refused_by_name() -> None:
    with pytest.raises(InvalidArgument, match="invalid filter 'colour'"):
        Filters({"colour": ["red"]}).check("label", "name")


@pytest.mark.parametrize("text", ["", "null", "{}"])
def test_an_absent_filter_matches_everything(text: str) -> None:
    none = parse_filters(text)
    assert not none
    assert none.exact("name", "x")
    assert none.pattern("name", "x")
    assert none.prefix("name", "x")
    assert none.labels({})
    assert none.boolean("dangling", default=True)


def test_every_label_must_be_there_and_no_unwanted_one() -> None:
    labels = {"a": "b", "c": ""}
    assert Filters({"label": ["a=b", "c"]}).labels(labels)
    assert not Filters({"label": ["a=b", "d"]}).labels(labels)
    assert not Filters({"label": ["a=x"]}).labels(labels)
    assert not Filters({"label!": ["a"]}).labels(labels)
    assert Filters({"label!": ["a=x"]}).labels(labels)


def test_a_pattern_is_searched_for_and_a_broken_one_finds_nothing() -> None:
    assert Filters({"name": ["^we"]}).pattern("name", "web")
    assert Filters({"name": ["eb"]}).pattern("name", "web")
    assert not Filters({"name": ["^eb"]}).pattern("name", "web")
    assert not Filters({"name": ["("]}).pattern("name", "web")


@pytest.mark.parametrize(
    ("values", "answer"), [(["1"], True), (["true", "1"], True), (["F"], False)]
)
def test_a_boolean_has_gos_spellings(values: list[str], answer: bool) -> None:
    assert Filters({"dangling": values}).boolean("dangling", default=False) is answer


@pytest.mark.parametrize("values", [["perhaps"], ["true", "false"], ["1", "x"]])
def test_a_boolean_that_is_none_is_refused(values: list[str]) -> None:
    with pytest.raises(InvalidArgument, match="invalid filter 'dangling"):
        Filters({"dangling": values}).boolean("dangling", default=False)


@given(st.text())
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        parse_filters(text).labels({"a": "b"})


def test_before_the_beginning_of_time_there_was_nothing_but_that_is_a_time() -> None:
    assert Filters().until_ns(5) is None
    assert Filters({"until": ["0"]}).until_ns(5) == 0
    for nothing in ("", "x"):
        with pytest.raises(InvalidArgument, match=f'value as time or duration: "{nothing}"'):
            Filters({"until": [nothing]}).until_ns(5)
