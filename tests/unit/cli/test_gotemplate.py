"""Templates give what Go's text/template gives: the expected texts come from Docker's CLI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.templates import DOCUMENTS, shown, templates
from tiffin.cli.documents import Document, show_documents
from tiffin.cli.failures import CommandFailed
from tiffin.cli.inspect import STRUCTS
from tiffin.cli.rows import Row
from tiffin.cli.template.engine import TemplateError, parse
from tiffin.cli.template.gotypes import type_of
from tiffin.cli.template.govalues import Value

with open(Path(__file__).parents[2] / "cli" / "golden_templates.json", encoding="utf-8") as file:
    GOLDEN = json.load(file)["lines"]


@pytest.mark.parametrize(("kind", "template"), templates())
def test_a_template_says_what_dockers_cli_says(
    kind: str, template: str, capfd: pytest.CaptureFixture[str]
) -> None:
    document = Document(
        json.dumps(DOCUMENTS[kind]).encode(), STRUCTS[kind], has_raw=kind != "volume"
    )
    code, stderr = 0, ""

    try:
        show_documents([document], template)
    except CommandFailed as error:
        code, stderr = error.code, f"{error.message}\n"

    ours = {"code": code, "stdout": shown(capfd.readouterr().out), "stderr": shown(stderr)}
    assert ours == GOLDEN[f"{kind} {template}"]


def row(**record: Any) -> Row:
    fields = {
        "Names": ("NAMES", lambda record, _: record["Names"]),
        "Labels": ("LABELS", lambda record, _: ""),
    }
    return Row(record, fields, short=True, kind="formatter.ContainerContext")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{.Names}}", "a,b"),
        ("{{len .Names}} {{index .Names 1}} {{upper .Names}}", "3 44 A,B"),
        ('{{.Label "x"}}|{{.Label "nope"}}|{{"x" | .Label}}', "<1>||<1>"),
        ("{{json .}}", '{"Labels":"","Names":"a,b"}'),
        ("{{json .Names}}", '"a,b"'),
        ("{{range split .Names `,`}}{{.}};{{end}}", "a;b;"),
    ],
)
def test_a_row_is_a_struct_of_methods(template: str, expected: str) -> None:
    assert parse(template).render(row(Names="a,b", Labels={"x": "<1>"})) == expected


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{.Nope}}", "can't evaluate field Nope in type *formatter.ContainerContext"),
        ("{{.Label}}", "wrong number of args for Label: want 1 got 0"),
        ('{{.Names "x"}}', "wrong number of args for Names: want 0 got 1"),
        ("{{.Label 1}}", "expected string; found 1"),
        ("{{.Names.X}}", "can't evaluate field X in type string"),
    ],
)
def test_what_a_row_has_not_is_said_as_in_go(template: str, problem: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parse(template).render(row(Names="a", Labels={}))

    assert str(caught.value).endswith(problem)


@pytest.mark.parametrize(
    ("kind", "document", "template"),
    [
        ("container.State", {"Pid": "many"}, "{{.Pid}}"),
        ("container.State", {"Pid": True}, "{{.Pid}}"),
        ("container.Config", {"Env": "A=b"}, "{{.Env}}"),
        ("container.HealthcheckResult", {"Start": "soon"}, "{{.Start}}"),
    ],
)
def test_a_document_of_another_shape_is_refused(
    kind: str, document: dict[str, Any], template: str
) -> None:
    with pytest.raises(ValueError, match=r"cannot unmarshal|soon"):
        parse(template).render(Value(type_of(kind), document))


def test_a_command_line_may_be_a_word_where_go_reads_it_so() -> None:
    value = Value(type_of("container.Config"), {"Cmd": "sh"})

    assert parse("{{.Cmd}}").render(value) == "[sh]"


@pytest.mark.parametrize(
    "template",
    ["{{" + "(" * 5000 + "1" + ")" * 5000 + "}}", "{{if 1}}" * 5000 + "{{end}}" * 5000],
)
def test_a_template_that_is_too_deep_is_refused(template: str) -> None:
    with pytest.raises(CommandFailed, match="max expression depth exceeded"):
        parse(template)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('{{printf "%99999999999d" 1}}', "%!(NOVERB)%!(EXTRA int=1)"),
        ('{{printf "%.99999999999f" 1.5}}', "%!(NOVERB)%!(EXTRA float64=1.5)"),
    ],
)
def test_a_width_too_large_ends_the_format(template: str, expected: str) -> None:
    assert parse(template).render(None) == expected


def test_a_range_over_a_large_number_ends_where_it_is_broken_off() -> None:
    template = "{{range $i := 9223372036854775807}}{{if eq $i 2}}{{break}}{{end}}{{$i}}{{end}}"

    assert parse(template).render(None) == "01"


WORDS = st.sampled_from(
    "{{ }} {{- -}} ( ) | . , := = $x $ .Name .State .Mounts .Config.Labels 1 -2 1.5 x if else end "
    "range with define template block break nil true print len index eq and json \" ` ' /* */ "
    '"a" printf'.split()
)


@given(st.lists(st.one_of(WORDS, st.just(" "), st.text(max_size=3)), max_size=12).map(" ".join))
def test_any_text_is_a_template_or_refused(text: str) -> None:
    """It renders, or says why not."""
    said = "template: "
    try:
        parse(text).render(Value(type_of("container.InspectResponse"), DOCUMENTS["container"]))
    except CommandFailed as error:
        said = error.message.removeprefix("template parsing error: ")
    except TemplateError as error:
        said = str(error)

    assert said.startswith("template: ")
