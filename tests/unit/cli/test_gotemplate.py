"""Templates give what Go's text/template gives; the expected texts come from Docker's CLI."""

from __future__ import annotations

from typing import Any

import pytest

from tiffin.cli.failures import CommandFailed
from tiffin.cli.gotemplate import TemplateError, parse

DATA: dict[str, Any] = {
    "Name": "/web",
    "Id": "abc",
    "State": {"Running": True, "ExitCode": 0, "Pid": 42, "Health": None},
    "Config": {"Cmd": ["sh", "-c", "x y"], "Env": None, "Labels": {"a": "1", "b": "2"}},
    "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "81/tcp": None},
    "Mounts": [{"Type": "bind"}, {"Type": "volume"}],
    "Ratio": 1.5,
    "Big": 1e20,
    "Html": "<a&b>",
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{.Name}}", "/web"),
        ("{{.ID}}", "abc"),
        ("{{ .State.Running }} {{.State.Pid}}", "true 42"),
        ("{{.Config.Cmd}}", "[sh -c x y]"),
        ("{{.Config.Labels}}", "map[a:1 b:2]"),
        ("{{.Config.Env}}", "[]"),
        ("{{.Config.Labels.zz}}", "<no value>"),
        ('{{index .Config.Labels "a"}}|{{index .Config.Labels "zz"}}|', "1||"),
        ("{{index .Config.Cmd 1}}", "-c"),
        ("{{json .Config.Cmd}}", '["sh","-c","x y"]'),
        ("{{json .Html}}", '"<a&b>"'),
        ("{{json .State.Health}}", "null"),
        ('{{join .Config.Cmd ", "}}', "sh, -c, x y"),
        ('{{.Name | upper | printf "%s!"}}', "/WEB!"),
        ("{{range .Mounts}}{{.Type}};{{end}}", "bind;volume;"),
        ("{{range $i, $m := .Mounts}}{{$i}}={{$m.Type}} {{end}}", "0=bind 1=volume "),
        ("{{range $k, $v := .Config.Labels}}{{$k}}{{$v}}{{end}}", "a1b2"),
        (
            "{{range $p, $b := .Ports}}{{$p}}->{{if $b}}{{(index $b 0).HostPort}}{{end}} {{end}}",
            "80/tcp->8080 81/tcp-> ",
        ),
        ("{{range .Config.Env}}x{{else}}none{{end}}", "none"),
        ('{{range .Mounts}}{{if eq .Type "volume"}}{{break}}{{end}}{{.Type}}{{end}}', "bind"),
        ('{{range .Mounts}}{{if eq .Type "bind"}}{{continue}}{{end}}{{.Type}}{{end}}', "volume"),
        ("{{with .State}}{{.Pid}}{{end}}", "42"),
        ("{{with .State.Health}}x{{else}}y{{end}}", "y"),
        ("{{if .State.Health}}x{{else if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{if and .State.Running (not .State.ExitCode)}}y{{end}}", "y"),
        ("{{if or .State.ExitCode .State.Pid}}y{{end}}", "y"),
        ('{{eq .Name "x" "/web"}} {{ne 1 2}} {{lt 1 2}} {{ge 1 2}}', "true true true false"),
        ("{{len .Mounts}} {{len .Name}}", "2 4"),
        (
            '{{printf "%-6s|%6s|%05d|%x|%q|%v|%.2f|%%" "ab" "cd" 42 255 "e" true 1.5}}',
            'ab    |    cd|00042|ff|"e"|true|1.50|%',
        ),
        ('{{printf "%d" "x"}} {{printf "%d"}}', "%!d(string=x) %!d(MISSING)"),
        ('{{$x := .Name}}{{$x}}{{$x = "y"}}{{$x}}', "/weby"),
        ("a {{- .Id -}} b", "aabcb"),
        ("a{{/* a comment */}}b", "ab"),
        ('{{"quoted \\" \\t"}}{{`raw \\n`}}', 'quoted " \traw \\n'),
        ('{{split "a,b" ","}} {{title "hello world"}} {{lower "AB"}}', "[a b] Hello World ab"),
        ('[{{pad "x" 1 2}}] [{{pad "" 1 2}}] {{truncate "abcdef" 3}}', "[ x  ] [] abc"),
        ("{{.Ratio}} {{.Big}}", "1.5 100000000000000000000"),
        ('{{slice .Name 1 3}} {{print 1 2 "x" 3}}', "we 1 2x3"),
        ('{{html .Html}} {{urlquery "a b&c"}}', "&lt;a&amp;b&gt; a+b%26c"),
        ("no action", "no action"),
        ("{{.Ports}}", "map[80/tcp:[{0.0.0.0 8080}] 81/tcp:<nil>]"),
        (
            '{{js "a\'<b>"}} {{printf "%T %c %X %t" 1 65 "z" true}}',
            "a\\'\\u003Cb\\u003E int A 7A true",
        ),
        ('{{printf "%s %d %v" 1 "x" 2}} {{printf "%"}}', "%!s(int=1) %!d(string=x) 2 %!(NOVERB)"),
        ('{{ge 2 2}} {{le "a" "b"}}', "true true"),
        ("{{true}} {{1}} {{'a'}} {{-1}}", "true 1 97 -1"),
    ],
)
def test_a_template_renders_as_in_go(template: str, expected: str) -> None:
    assert parse(template, strict=True).render(DATA) == expected


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{.Name", "unclosed action"),
        ("{{if .Name}}x", "unexpected EOF"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{nothing .}}", 'function "nothing" not defined'),
        ("{{if}}x{{end}}", "missing value for if"),
        ("{{(.Name}}", "unclosed left paren"),
        ('{{"open}}', "unterminated quoted string"),
        ("{{`open}}", "unterminated raw quoted string"),
        ("{{'o}}", "unterminated character constant"),
        ("{{.Name}", "bad character U+007D '}'"),
        ("{{/* open", "unclosed comment"),
        ("{{/* x */ }}", "comment ends before closing delimiter"),
        ("{{.Name)}}", "unexpected right paren"),
        ("{{| .Name}}", 'unexpected "|" in command'),
        ("{{-.Name}}", 'bad number syntax: "-.N"'),
        ("{{$x}}", 'undefined variable "$x"'),
        ("{{if .Name}}{{$x := 1}}{{end}}{{$x}}", 'undefined variable "$x"'),
        ('{{$x := 1}}{{define "a"}}{{$x}}{{end}}', 'undefined variable "$x"'),
        (
            '{{define "a"}}1{{end}}{{define "a"}}2{{end}}',
            'template: multiple definition of template "a"',
        ),
        ("{{break}}", "{{break}} outside {{range}}"),
        ("a\nb{{nothing .}}", 'template: :2: function "nothing" not defined'),
        ("{{'ab'}}", "malformed character constant: 'ab'"),
    ],
)
def test_a_template_with_a_mistake_is_refused(template: str, problem: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        parse(template)

    assert caught.value.code == 64
    assert problem in caught.value.message


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{.Nothing}}", 'at <.Nothing>: map has no entry for key "Nothing"'),
        (
            "{{.State.Nothing.More}}",
            ':1:8: executing "" at <.State.Nothing.More>: map has no entry for key "Nothing"',
        ),
        ("{{.Name.X}}", "can't evaluate field X"),
        ("{{index .Mounts 7}}", "index out of range: 7"),
        ("a\n  {{index .Mounts 7}}", ':2:4: executing "" at <index .Mounts 7>: error calling'),
        ("{{len .Ratio}}", ':1:2: executing "" at <len .Ratio>: error calling len: len of type'),
        ("{{range .Name}}{{end}}", ':1:8: executing "" at <.Name>: range can'),
        ("{{slice .Name 9}}", "error calling slice: index out of range: 9"),
        ("{{lt .Name 1}}", "incompatible types for comparison"),
        ("{{len 1}}", "error calling len"),
    ],
)
def test_a_template_that_does_not_fit_says_where(template: str, problem: str) -> None:
    with pytest.raises(TemplateError, match="template: ") as caught:
        parse(template, strict=True).render(DATA)

    assert problem in str(caught.value)
