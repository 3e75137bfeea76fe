"""Templates, and documents for them: what Docker's CLI makes of each is in golden_templates.json.

A line is a template; those below a line `= kind` are for the document of that kind.
"""
# ruff: noqa: E501 - a template is a line

from __future__ import annotations

import re
from typing import Any

_HEALTH = {
    "Status": "healthy",
    "FailingStreak": 0,
    "Log": [
        {
            "Start": "2024-01-02T03:04:05.000000006Z",
            "End": "2024-01-02T03:04:06.5+01:00",
            "ExitCode": 0,
            "Output": "fine <ok>",
        }
    ],
}
_ENDPOINT = {
    "IPAMConfig": None,
    "Links": None,
    "Aliases": None,
    "MacAddress": "02:42:ac:11:00:02",
    "DriverOpts": None,
    "GwPriority": 0,
    "NetworkID": "b" * 64,
    "EndpointID": "e" * 64,
    "Gateway": "172.17.0.1",
    "IPAddress": "172.17.0.2",
    "IPPrefixLen": 16,
    "IPv6Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "DNSNames": None,
}
CONTAINER: dict[str, Any] = {
    "Id": "4f1d" * 16,
    "Created": "2024-01-02T03:04:05.000000006Z",
    "Path": "sh",
    "Args": ["-c", "x <y>"],
    "State": {
        "Status": "running",
        "Running": True,
        "Paused": False,
        "Restarting": False,
        "OOMKilled": False,
        "Dead": False,
        "Pid": 42,
        "ExitCode": 0,
        "Error": "",
        "StartedAt": "2024-01-02T03:04:05.000000006Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
        "Health": _HEALTH,
    },
    "Image": "sha256:" + "7cc4" * 16,
    "Name": "/one",
    "RestartCount": 3,
    "Driver": "overlay2",
    "Platform": "linux",
    "ExecIDs": None,
    "Extra": {
        "Number": 7,
        "Big": 12345678901234567890,
        "Half": 1.5,
        "List": [1, "a", None],
        "Null": None,
    },
    "HostConfig": {
        "Binds": ["/a:/b"],
        "ContainerIDFile": "",
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
        "NetworkMode": "bridge",
        "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]},
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 5},
        "AutoRemove": False,
        "ConsoleSize": [24, 80],
        "CapAdd": ["NET_ADMIN"],
        "CapDrop": None,
        "CgroupnsMode": "private",
        "Dns": [],
        "IpcMode": "container:abc",
        "PidMode": "host",
        "UTSMode": "",
        "UsernsMode": "host",
        "Privileged": False,
        "ShmSize": 67108864,
        "Runtime": "runc",
        "Isolation": "",
        "CpuShares": 512,
        "Memory": 0,
        "NanoCpus": 1500000000,
        "BlkioWeight": 300,
        "BlkioWeightDevice": [{"Path": "/dev/sda", "Weight": 100}],
        "Devices": [
            {"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "rwm"}
        ],
        "OomKillDisable": False,
        "PidsLimit": 50,
        "Ulimits": [{"Name": "nofile", "Hard": 2048, "Soft": 1024}],
        "Mounts": [
            {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1024, "Mode": 1000}}
        ],
        "Init": True,
    },
    "GraphDriver": {"Data": {"LowerDir": "/l", "UpperDir": "/u"}, "Name": "overlay2"},
    "SizeRw": 12,
    "Mounts": [
        {
            "Type": "bind",
            "Source": "/a",
            "Destination": "/b",
            "Mode": "",
            "RW": True,
            "Propagation": "rprivate",
        }
    ],
    "Config": {
        "Hostname": "h",
        "Domainname": "",
        "User": "",
        "AttachStdin": False,
        "AttachStdout": True,
        "AttachStderr": True,
        "ExposedPorts": {"80/tcp": {}, "9/udp": {}},
        "Tty": False,
        "OpenStdin": False,
        "StdinOnce": False,
        "Env": ["A=b", "C=d e"],
        "Cmd": ["sh", "-c", "x <y>"],
        "Healthcheck": {
            "Test": ["CMD", "true"],
            "Interval": 90000000000,
            "Timeout": 1500000000,
            "StartPeriod": 0,
            "Retries": 3,
        },
        "Image": "busybox",
        "Volumes": None,
        "WorkingDir": "",
        "Entrypoint": None,
        "OnBuild": None,
        "Labels": {"a": "1", "b.c": "two words"},
        "StopTimeout": 10,
    },
    "NetworkSettings": {
        "Bridge": "",
        "SandboxID": "s" * 8,
        "SandboxKey": "/var/run/x",
        "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "9/udp": None},
        "HairpinMode": False,
        "Gateway": "172.17.0.1",
        "IPAddress": "172.17.0.2",
        "IPPrefixLen": 16,
        "Networks": {"bridge": _ENDPOINT},
    },
}
IMAGE = {
    "Id": "sha256:" + "7cc4" * 16,
    "RepoTags": ["busybox:latest"],
    "RepoDigests": [],
    "Created": "2024-01-02T03:04:05Z",
    "Architecture": "amd64",
    "Os": "linux",
    "Size": 4261550,
    "GraphDriver": {"Data": None, "Name": "overlay2"},
    "RootFS": {"Type": "layers", "Layers": ["sha256:" + "ab" * 32]},
    "Metadata": {"LastTagTime": "2024-01-02T03:04:05Z"},
    "Config": {
        "Env": ["PATH=/bin"],
        "Cmd": ["sh"],
        "Labels": {"x": "y"},
        "ExposedPorts": {"80/tcp": {}},
    },
}
NETWORK = {
    "Name": "bridge",
    "Id": "b" * 64,
    "Created": "2024-01-02T03:04:05.123456789+02:00",
    "Scope": "local",
    "Driver": "bridge",
    "EnableIPv4": True,
    "EnableIPv6": False,
    "IPAM": {
        "Driver": "default",
        "Options": None,
        "Config": [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}],
    },
    "Internal": False,
    "Containers": {
        "c1": {
            "Name": "one",
            "EndpointID": "e",
            "MacAddress": "m",
            "IPv4Address": "4",
            "IPv6Address": "",
        }
    },
    "Options": {"a": "b"},
    "Labels": {},
}
VOLUME = {
    "CreatedAt": "2024-01-02T03:04:05Z",
    "Driver": "local",
    "Labels": {"a": "b"},
    "Mountpoint": "/v/data/_data",
    "Name": "data",
    "Options": None,
    "Scope": "local",
}
DOCUMENTS = {"container": CONTAINER, "image": IMAGE, "network": NETWORK, "volume": VOLUME}

_LINES = r"""
= container
{{.State}}
{{.HostConfig.RestartPolicy}} {{.HostConfig.LogConfig}} {{.GraphDriver}}
{{.Config.Healthcheck}}
{{.Config.ExposedPorts}} {{.Config.Volumes}} {{.Config.Entrypoint}} {{.Config.Cmd}} {{.Config.StopTimeout}}
{{.NetworkSettings.Ports}}
{{.NetworkSettings.Networks.bridge}}
{{.NetworkSettings.DefaultNetworkSettings}}
{{.NetworkSettings.NetworkSettingsBase}}
{{.Mounts}} {{.HostConfig.Mounts | len}}
{{.HostConfig.Devices}} {{.HostConfig.ConsoleSize}} {{.HostConfig.Init}} {{.HostConfig.OomKillDisable}} {{.HostConfig.PidsLimit}} {{.HostConfig.MemorySwappiness}}
{{.HostConfig.Ulimits}} {{.HostConfig.BlkioWeightDevice}}
{{index .HostConfig.Ulimits 0}} {{(index .HostConfig.Ulimits 0).Soft}}
{{.State.Health.Status}} {{.State.Health.FailingStreak}} {{(index .State.Health.Log 0).Output}}
{{(index .State.Health.Log 0).Start}} {{(index .State.Health.Log 0).End}}
{{(index .State.Health.Log 0).Start.Year}} {{(index .State.Health.Log 0).Start.Unix}} {{(index .State.Health.Log 0).End.Format "Jan _2 2006 15:04:05.000 Z07:00 PM 3 Monday"}}
{{(index .State.Health.Log 0).End.UTC}} {{(index .State.Health.Log 0).Start.IsZero}} {{(index .State.Health.Log 0).Start.Nope}}
{{json .State}}
{{json .Config}}
{{json .HostConfig.RestartPolicy}} {{json .HostConfig.Init}} {{json .HostConfig.MemorySwappiness}} {{json .SizeRw}} {{json .SizeRootFs}}
{{json .NetworkSettings}}
{{json .}}
{{.SizeRw}} {{.SizeRootFs}} {{json .ImageManifestDescriptor}} {{.ImageManifestDescriptor}}
{{.HostConfig.NetworkMode.IsHost}} {{.HostConfig.NetworkMode.IsBridge}} {{.HostConfig.NetworkMode.NetworkName}} {{.HostConfig.NetworkMode.IsUserDefined}} {{.HostConfig.NetworkMode.IsPrivate}}
{{.HostConfig.NetworkMode.UserDefined}}|{{.HostConfig.NetworkMode.ConnectedContainer}}|{{.HostConfig.NetworkMode.IsNone}}{{.HostConfig.NetworkMode.IsDefault}}{{.HostConfig.NetworkMode.IsContainer}}
{{.HostConfig.IpcMode.IsContainer}} {{.HostConfig.IpcMode.Container}} {{.HostConfig.IpcMode.Valid}} {{.HostConfig.IpcMode.IsEmpty}} {{.HostConfig.PidMode.IsHost}} {{.HostConfig.PidMode.Container}}
{{.HostConfig.UTSMode.IsHost}} {{.HostConfig.UTSMode.IsPrivate}} {{.HostConfig.UsernsMode.IsHost}} {{.HostConfig.CgroupnsMode.IsPrivate}} {{.HostConfig.Cgroup.IsContainer}} {{.HostConfig.Isolation.IsDefault}}
{{.HostConfig.RestartPolicy.IsOnFailure}} {{.HostConfig.RestartPolicy.IsAlways}} {{.HostConfig.RestartPolicy.IsNone}} {{.HostConfig.RestartPolicy.IsUnlessStopped}}
{{.HostConfig.NetworkMode.IsHost 1}}
{{.HostConfig.NetworkMode.Nope}}
{{range $p, $b := .NetworkSettings.Ports}}{{$p}} {{$p.Port}} {{$p.Proto}} {{$p.Int}} {{len $b}} {{range $b}}{{.HostIP}}:{{.HostPort}}{{end}};{{end}}
{{range $p, $_ := .Config.ExposedPorts}}{{$p.Int}}/{{$p.Proto}} {{end}}
{{index .NetworkSettings.Ports "80/tcp"}}
{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}
{{.NetworkSettings.Ports.foo}}
{{.NetworkSettings.Networks.nope}} {{.NetworkSettings.Networks.nope.IPAddress}}
{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}} {{.NetworkSettings.IPAddress}} {{.NetworkSettings.Networks.bridge.Aliases}}
{{with index .NetworkSettings.Networks "bridge"}}{{.Gateway}} {{.IPPrefixLen}}{{end}}
{{printf "%T %T %T %T %T" .State .Config.Cmd .HostConfig.NetworkMode .NetworkSettings.Ports .Mounts}}
{{printf "%T" .}}
{{printf "%T %T %T %T %T %T %T" 1 1.5 "x" true 'a' nil .SizeRw}}
{{printf "%v|%+v|%#v" .HostConfig.RestartPolicy .HostConfig.RestartPolicy .HostConfig.RestartPolicy}}
{{printf "%+v" .HostConfig.LogConfig}} {{printf "%#v" .HostConfig.LogConfig}}
{{printf "%#v" .Mounts}}
{{printf "%+v" .Config.Healthcheck}}
{{printf "%#v %#v %#v %#v %#v %#v" .Config.Cmd .Config.Entrypoint .Config.Labels .Config.Volumes .Config.ExposedPorts .HostConfig.ConsoleSize}}
{{printf "%#v %#v %#v %#v %#v" 1 1.5 "x" true nil}}
{{printf "%#v %#v" .HostConfig.NetworkMode .HostConfig.BlkioWeight}}
{{printf "%d %d %s" .HostConfig.RestartPolicy .Config.Cmd .HostConfig.RestartPolicy}}
{{printf "%s %q %x %X" .Config.Cmd .Config.Cmd .Config.Cmd .Name}}
{{printf "%t %v %d %s" .State.Running .State.Running .State.Running .State.Running}}
{{printf "%5d|%-5d|%05d|%+d|% d|%x|%#x|%o|%#o|%b|%c|%q|%U|%#U|%O" 42 42 42 42 42 42 42 42 42 42 65 65 65 65 8}}
{{printf "%5s|%-5s|%.2s|%5.1s|%q|%#q|%+q|%x|% x|%#x|% #X" "abc" "abc" "abc" "abc" "a\"b" "ab" "é" "abc" "abc" "abc" "abc"}}
{{printf "%f|%.1f|%8.2f|%-8.2f|%+.1f|%e|%g|%G|%08.3f|%v|%6v" 1.5 1.55 1.5 1.5 1.5 1500.0 1e21 1e-7 3.14159 2.0 2.5}}
{{printf "%v %v %v %v %v %v" 1e6 123456.0 1234567.0 0.0001 0.00001 1e20}} {{1e3}} {{1.0}} {{100000000.0}} {{0x1p4}}
{{printf "%t|%5t|%-6t|%v" true false true false}}
{{printf "%*d|%-*d|%.*f" 5 1 4 2 2 3.14159}} {{printf "%*d" "x" 1}} {{printf "%.*d" "x" 1}}
{{printf "%[2]d %[1]d %d" 1 2}} {{printf "%[3]d" 1}} {{printf "%[x]d" 1}} {{printf "%[1]d %[1]v"  7}} {{printf "%[" 1}}
{{printf "%d %s" 1}} {{printf "%!" 1}} {{printf "%" 1}} {{printf "%z" 1}} {{printf "%z" .Config.Cmd}} {{printf "%d" 1 2 "x" nil}}
{{printf "%6.2f%%" 12.345}} {{printf "%%"}} {{printf "%5%"}} {{printf "%-10v|" .Config.Cmd}} {{printf "%5v" .Config.Cmd}} {{printf "%05d" -42}} {{printf "%x" -42}} {{printf "%+q" 0x1F600}}
{{printf "%p" 1}} {{printf "%s" nil}} {{printf "%d" nil}} {{printf "%v" nil}} {{printf "%s" .HostConfig.MemorySwappiness}} {{printf "%v" .HostConfig.MemorySwappiness}}
{{printf "%s %d" .Config.Healthcheck.Interval .Config.Healthcheck.Interval}} {{.Config.Healthcheck.Timeout}} {{.Config.Healthcheck.StartPeriod}} {{.Config.Healthcheck.Interval.Seconds}} {{.Config.Healthcheck.Interval.Minutes}}
{{printf 1 2}}
{{printf "%v" .State.Nope}}
{{print 1 2 "x" 3 4}} {{print .Name 1}} {{print nil nil}} {{print true false}} {{println 1 "x" nil}}|{{print}}|{{println}}
{{html "<a href='x'>&\""}} {{html .Args}} {{html 1 2}} {{js "a'b\"<c>=\n\\é"}} {{urlquery "a b&c=d/é"}} {{urlquery .Name 1}}
{{html nil}} {{html .SizeRootFs}} {{js .Nope}}
{{len .Name}} {{len .Args}} {{len .Config.Labels}} {{len .HostConfig.ConsoleSize}} {{len .Config.Entrypoint}}
{{len .State}}
{{len 3}}
{{len nil}}
{{len .HostConfig.Init}}
{{len .HostConfig.MemorySwappiness}}
{{index .Args 0}} {{index .Name 1}} {{index .Config.Labels "a"}}|{{index .Config.Labels "nope"}}|{{index .HostConfig.ConsoleSize 1}}
{{index .Args 2}}
{{index .Args 7}}
{{index .Args -1}}
{{index .Args "x"}}
{{index .Args nil}}
{{index .Args 1.5}}
{{index .State "Status"}}
{{index .Config.Labels 3}}
{{index .Config.Labels nil}}
{{index nil 1}}
{{index .Config.Entrypoint 0}}
{{index .Args}}
{{index .NetworkSettings.Ports "80/tcp" 0}}
{{index .SizeRw 0}}
{{index .SizeRootFs 0}}
{{index 3 0}}
{{slice .Name 1}} {{slice .Name 1 3}} {{slice .Args 1}} {{slice .Args}} {{slice .Args 0 1}} {{slice .Args 0 1 2}}
{{slice .Name 9}}
{{slice .Name 3 1}}
{{slice .Name 1 2 3}}
{{slice .Args 1 2 3 4}}
{{slice .State 1}}
{{slice nil 1}}
{{slice .Args "x"}}
{{slice 3}}
{{call .Name}}
{{call nil}}
{{call 3 4}}
{{call (.Name)}}
{{.Name | call}}
{{len .Args | call}}
{{printf "%s" .Extra.List}} {{printf "%5v|%d" .Extra.List .Extra}}
{{slice .Name $}} {{.Extra.Nope}}
{{--}}
{{1-}}
{{slice .Name .Extra}} {{.Extra}}
{{slice .Extra.List .Extra.Number}}
{{eq .Name "/one"}} {{eq .State.Pid 42}} {{eq .HostConfig.BlkioWeight 300}} {{eq .HostConfig.NetworkMode "bridge"}} {{eq .State.Running true}} {{eq 1 1.0}}
{{eq .Name 1}}
{{eq .Name}}
{{eq .Args .Args}}
{{eq .State .State}} {{eq .HostConfig.RestartPolicy .HostConfig.RestartPolicy}} {{eq .HostConfig.MemorySwappiness nil}} {{eq nil nil}} {{eq .Name nil}}
{{eq .Config.Labels nil}} {{eq .Config.Volumes nil}} {{eq .Config.Entrypoint nil}} {{ne .State.Health nil}} {{ne nil .State.Health}}
{{eq .Config.Labels .Config.Labels}}
{{eq .State .Name}}
{{eq .State .Config.Labels}}
{{eq .GraphDriver .GraphDriver}}
{{ne 1 2 3}}
{{lt 1 2}} {{lt "a" "b"}} {{lt 1.5 2.5}} {{le 2 2}} {{gt .State.Pid 41}} {{ge .HostConfig.BlkioWeight 300}} {{lt -1 .HostConfig.BlkioWeight}}
{{lt 1 1.5}}
{{lt .State 1}}
{{lt true false}}
{{lt nil 1}}
{{lt .Args .Args}}
{{not .State.Running}} {{not .State.Health}} {{not .Config.Volumes}} {{not 0}} {{not ""}} {{not nil}} {{not .HostConfig.RestartPolicy}} {{not .HostConfig.MemorySwappiness}} {{not .HostConfig.Init}}
{{and 1 0 2}} {{and 1 "x"}} {{or 0 "" "y"}} {{or 0 nil}} {{and .State.Running .Name}} {{or .Config.Volumes "none"}} {{and true (index .Args 0)}}
{{and}}
{{or (index .Args 9) 1}}
{{or 1 (index .Args 9)}}
{{1 | and 0}} {{1 | or 0}} {{"x" | eq "x"}} {{nil | or 0}}
{{join .Args ","}} {{join .Config.Cmd "+"}} {{split "a,b" ","}} {{split "abc" ""}} {{join .Config.Entrypoint ","}}
{{join .Name ","}}
{{join nil ","}}|
{{title "hello wORLD it's"}} {{upper .Name}} {{lower "ÀB"}} {{pad .Name 1 2}}| {{pad "" 1 2}}| {{truncate .Name 2}} {{truncate .Name 99}}
{{upper .HostConfig.NetworkMode}}
{{upper .HostConfig.RestartPolicy.Name}}
{{upper .State.Pid}}
{{upper .SizeRw}}
{{upper .Config.StopTimeout}}
{{truncate .Name .State.Pid}}
{{truncate "abc" .Config.StopTimeout}}
{{truncate .Name -1}}
{{truncate .Name 1.5}}
{{pad "x" -1 0}}
{{pad "x" "1" 0}}
{{title nil}}
{{upper true}}
{{upper 'a'}}
{{upper "a" "b"}}
{{"a" | upper "b"}}
{{split "a"}}
{{json}}
{{json 1 2}}
{{json nil}} {{json "<&>"}} {{json 1.5}} {{json 1e21}} {{json 100.0}} {{json 'a'}} {{json true}} {{json .Config.ExposedPorts}} {{json .HostConfig.ConsoleSize}} {{json .HostConfig.Ulimits}}
{{json .State.Health}}
{{range .Args}}{{.}};{{else}}none{{end}} {{range .Config.Volumes}}x{{else}}none{{end}}
{{range $i, $a := .Args}}{{$i}}={{$a}} {{end}}{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}
{{range 3}}{{.}} {{end}}{{range $i := 2}}{{$i}}{{end}}{{range $i, $j := 2}}{{$i}}{{$j}}{{end}}{{range 0}}x{{else}}zero{{end}}{{range .State.Pid}}.{{end}}
{{range -1}}x{{else}}negative{{end}}
{{range .HostConfig.BlkioWeight}}{{if eq . 3}}{{break}}{{end}}{{.}}{{end}}
{{range "abc"}}x{{end}}
{{range 1.5}}x{{end}}
{{range true}}x{{end}}
{{range nil}}x{{end}}
{{range .State}}x{{end}}
{{range .State.Health}}x{{end}}
{{range .Name}}x{{end}}
{{range .SizeRootFs}}x{{else}}none{{end}}
{{range $a := .Args}}{{if eq $a "-c"}}{{continue}}{{end}}{{$a}}{{end}} {{range .Args}}{{break}}{{end}}after
{{range .Args}}{{range $.Args}}{{break}}{{end}}{{.}}{{end}}
{{range $i, $a := .Args}}{{$i = 5}}{{$i}}{{end}}
{{$x := 1}}{{range .Args}}{{$x = .}}{{end}}{{$x}}
{{with .State}}{{.Status}}{{else}}none{{end}} {{with .Config.Volumes}}x{{else}}none{{end}} {{with $s := .State}}{{$s.Pid}}{{end}}
{{with .Config.Volumes}}x{{else with .Name}}{{.}}{{else}}none{{end}}
{{with .Config.Volumes}}x{{else if .Name}}{{.}}{{end}}
{{if .Config.Volumes}}x{{else if .State.Running}}up{{else}}down{{end}}
{{if .Config.Volumes}}x{{else with .State}}{{.Pid}}{{end}}
{{if nil}}x{{end}}
{{if}}x{{end}}
{{if .Name}}x
{{if .Name}}x{{else}}y{{else}}z{{end}}
{{range .Args}}x{{else if .Name}}y{{end}}
{{with}}{{end}}
{{else}}
{{end}}
{{end}}x
{{break}}
{{continue}}
{{range .Args}}{{define "x"}}{{break}}{{end}}{{end}}
{{define "x"}}<{{.}}>{{end}}{{template "x" .Name}}{{template "x"}}
{{define "x"}}<{{.}}>{{end}}{{template "x" 1 2}}
{{define "x" .}}{{end}}
{{define}}{{end}}
{{define "x"}}
{{template "x" .}}
{{template}}
{{template x}}
{{template "x" | upper}}
{{block "b" .State}}{{.Pid}}{{end}}{{template "b" .State}}
{{block "b"}}{{end}}
{{if .Name}}{{define "x"}}y{{end}}{{end}}
{{define "x"}}{{template "y" .}}{{end}}{{define "y"}}{{.Nope}}{{end}}{{template "x" .}}
{{$x := .Name}}{{$x}} {{$y := 1}}{{$y = 2}}{{$y}} {{$}}
{{$x = 1}}
{{$x := 1}}{{$x := 2}}{{$x}}
{{$x, $y := .Name}}
{{$x := }}
{{$x :=}}
{{$}}|{{$.Name}}|{{$.State.Pid}}
{{$x := .State}}{{$x.Status}} {{$x.Nope}}
{{$x.Nope}}
{{true}} {{false}} {{nil}}
{{nil}}
{{nil | upper}}
{{1}} {{-1}} {{+1}} {{0x1F}} {{0b11}} {{0o17}} {{017}} {{1_000}} {{'a'}} {{'\n'}} {{"a\tb\x41\u00e9\101"}} {{`raw\n`}}
{{1.5}} {{.5}} {{1.}} {{1e3}}
{{99999999999999999999}}
{{9223372036854775808}}
{{08}}
{{1x}}
{{1.2.3}}
{{'ab'}}
{{''}}
{{"a
b"}}
{{"\q"}}
{{"abc}}
{{`abc}}
{{.Name
.Name}}
{{.Name }}x{{- .Name -}} y {{- /* c */ -}} z
a {{- "b" -}} c   {{"d"}}
{{-.Name}}
{{- .Name}}
{{.Name -}}
{{.Name-}}
{{-}}
{{- -}}
{{}}
{{ }}
{{/* comment */}}|{{- /* c */ -}}|{{/**/}}
{{/* a }} b
{{ /* a */ }}
{{/* a */ .Name}}
{{.Name}
{{.Name}}}}
}}
{{{.Name}}
{{.}}}
{{(.Name)}} {{((.Name))}} {{(.State).Pid}} {{(index .Args 0) | upper}}
{{(.Name}}
{{.Name)}}
{{()}}
{{.Name .Name}}
{{"x" .Name}}
{{1 2}}
{{. 1}}
{{(.Name) 1}}
{{$ 1}}
{{.Name | 1}}
{{.Name | .State}}
{{.Name | "x"}}
{{| .Name}}
{{.Name |}}
{{.Name || .Name}}
{{.Name | | upper}}
{{.Name | nope}}
{{nope}}
{{nope .Name}}
{{.Name, .Name}}
{{.Name := 1}}
{{.Name = 1}}
{{.Name.}}
{{.Name..Path}}
{{..}}
{{.1}}
{{.Name.1}}
{{. Name}}
{{.Na-me}}
{{.Name!}}
{{@}}
{{#}}
{{.Name;}}
{{"x".Name}}
{{1.Name}}
{{nil.Name}}
{{true.Name}}
{{$.}}
{{(.State).}}
{{upper.Name}}
{{.state}}
{{.State.status}}
{{.ID}} {{.Id}}
{{.Id}} {{.State}}
{{.Nope}}
{{.Nope.More}}
{{.State.Nope}}
{{.State.Nope.More}}
{{.Name.X}}
{{.Args.X}}
{{.State.Pid.X}}
{{.SizeRootFs.X}}
{{.SizeRw.X}}
{{.HostConfig.Init.X}}
{{.ImageManifestDescriptor.Digest}}
{{.ImageManifestDescriptor.Nope}}
{{.ImageManifestDescriptor.Platform.OS}}
{{.Config.Labels.a}} {{.Config.Labels.nope}}
{{.Config.Labels.a.b}}
{{.Config.Labels.nope.more}}
{{.ContainerJSONBase.Name}} {{.HostConfig.Resources.Memory}} {{.HostConfig.Resources.NanoCPUs}} {{.HostConfig.NanoCPUs}}
{{.HostConfig.NanoCpus}}
{{.HostConfig.DNS}} {{.HostConfig.Dns}}
{{.Extra}}
{{.Extra.Number}} {{.Extra.Big}} {{.Extra.Half}} {{.Extra.List}} {{json .Extra}}
{{printf "%T %T %T %T %T %d" .Extra.Number .Extra.List .Extra .Extra.Null .Id .Extra.Number}}
{{.Extra.Null}} {{eq .Extra.Number 7}}
{{.Extra.Number}} {{eq .Extra.Number "7"}} {{upper .Id}} {{.State.Running}} {{range .Extra.List}}{{.}},{{end}}
{{.Extra.Null.X}}
{{.Extra.Nope}}
{{.Extra.Number.String}} {{.Extra.Number.X}}
{{.Extra.Number | printf "%s %v %q"}}
{{index .Extra "Number"}} {{index .Extra.List 1}} {{len .Extra.List}} {{index .Extra.List 2}} {{index .Extra "nope"}}
{{add 1 2}}
{{.Name | printf "%s-%s" "x"}} {{.Args | len}} {{.State | json}} {{"<b>" | html | upper}}
{{with $x := 5}}{{$x}}{{end}} {{with 0}}x{{else}}zero{{end}}
{{if eq .Name "/one" "x"}}a{{end}}{{if and (eq 1 1) (eq 2 2)}}b{{end}}{{if or (eq 1 2) (eq 2 2)}}c{{end}}
{{range $i, $e := .Config.Env}}{{if $i}}, {{end}}{{$e}}{{end}}
{{range .Config.Env}}{{with split . "="}}{{index . 0}}->{{index . 1}} {{end}}{{end}}
{{range $k, $v := .Config.Labels}}{{printf "%s=%q " $k $v}}{{end}}
{{.Mounts | json}}
{{range .Mounts}}{{.Type}} {{.Source}} {{.RW}} {{.Propagation}} {{.Name}}|{{end}}
{{(index .Mounts 0).Type}} {{(index .Mounts 3).Type}}
{{.HostConfig.PortBindings}} {{json .HostConfig.PortBindings}}
{{.Args}} {{.ExecIDs}} {{.Created}} {{.Driver}} {{.MountLabel}}|{{.LogPath}}|
{{.State.Health}}
{{.Config}}
{{.HostConfig.Resources}}
= image
{{.ID}} {{.RepoTags}} {{.RepoDigests}} {{.Parent}}| {{.Created}} {{.Size}} {{.VirtualSize}} {{.Author}}|
{{.Config}}
{{.Config.Cmd}} {{.Config.Env}} {{.Config.Labels}} {{.Config.ExposedPorts}} {{.Config.Entrypoint}} {{.Config.Healthcheck}} {{.Config.OnBuild}}
{{.RootFS}} {{.Metadata}} {{.Metadata.LastTagTime}} {{.GraphDriver}}
{{json .Config}} {{json .Metadata}} {{json .RootFS}}
{{json .}}
{{.Config.Image}}
{{.Config.Hostname}}
{{.Config.ImageConfig.Cmd}} {{.Config.Shell}}
{{printf "%T %T" .Config .Config.Cmd}} {{.Descriptor}} {{.Manifests}}
{{index .RepoTags 0}} {{index .RepoDigests 0}}
{{.}}
= network
{{.}}
{{.Created}} {{.Created.Year}} {{.Created.Format "2006-01-02"}} {{.Created.UTC}}
{{.IPAM}} {{.IPAM.Config}} {{(index .IPAM.Config 0).Subnet}} {{.ConfigFrom}}
{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}} {{.Containers}}
{{json .}}
{{.Peers}} {{.Services}} {{.Options.a}} {{.Options.nope}} {{.EnableIPv4}} {{.Labels}}
{{printf "%v %s %d" .Created .Created 1}} {{printf "%#v" .Created}}
= volume
{{.}}
{{.Name}} {{.Mountpoint}} {{.Labels.a}} {{.Options}} {{.UsageData}} {{.Status}} {{.ClusterVolume}}
{{json .}}
{{.UsageData.Size}}
{{.ClusterVolume.ID}}
{{.Status.x}}
""".strip()


def templates() -> list[tuple[str, str]]:
    """(kind, template), in their order. A line break in a template is a line of two."""
    found: list[tuple[str, str]] = []
    kind, pending = "", ""
    for line in _LINES.split("\n"):
        if line.startswith("= "):
            kind = line[2:]
            continue
        if line in ('{{"a', "{{.Name"):
            pending = line + "\n"
            continue
        found.append((kind, pending + line))
        pending = ""
    return found


def shown(text: str) -> str:
    """Without addresses of memory, which are others at each run."""
    return re.sub("0x[0-9a-f]{6,}", "0xADDRESS", text)
