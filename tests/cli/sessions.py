"""Whole sessions at a command line: lines one after another in one home, before a daemon that has
something to show. What Docker's CLI says is kept in golden_sessions.json (record.py).
"""
# ruff: noqa: E501 - a command line is a line

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from typing import Any

from tests.certificates import make_certificates
from tests.cli.fake_daemon import Answer, FakeDaemon, Request, error
from tests.cli.recording import answer_anything
from tests.patience import patient

ID = "4f1d" * 16
OTHER = "0a1b" * 16
DIGEST = "sha256:" + "7cc4" * 16

CONTEXTS = """
context ls
context show
context create one --description 'my one' --docker host=tcp://1.2.3.4:2376,ca={tmp}/ca.pem,cert={tmp}/cert.pem,key={tmp}/key.pem
context create two --docker host=unix:///nope.sock
context create qq --docker foo=bar
context create qq --docker host=bad
context create qq2 --docker host=tcp://x,skip-tls-verify=true
context create ww --from one --description d2
context create ww3 --docker host=foo://x
context create ww4 --docker ''
context create ww5 --docker host=tcp://x,skip-tls-verify=foo
context create ww6 --docker host=ssh://u@h:22/x
context create ww7 --docker host=tcp://h,ca=/nope
context create ww8 --docker cert={tmp}/cert.pem
context create one
context create ww9 --docker from=nope
context create wwa --from two --docker host=tcp://x
context create b
context create default
context ls
context ls --format json
context ls -q
context ls --format '{{.Name}} {{.Current}} {{.DockerEndpoint}} {{.Error}} {{.Description}}'
context ls --format 'table {{.Name}}\\t{{.Error}}'
context inspect one qq2 ww ww8
context inspect nope
context inspect --format '{{.Name}} {{.Endpoints.docker.Host}}' one two
context inspect --format '{{json .}}' ww
context use two
context show
context ls
-H tcp://1.2.3.4:5 -c one ps
-c one context show
--context=one context show
context use nope
context rm two
context rm -f two
context rm nope
context rm -f nope
context rm default
context use default
context export one {tmp}/one.tar
context export one {tmp}/one.tar
context import imp {tmp}/one.tar
context import imp {tmp}/one.tar
context inspect imp
context import imp2 /nope
context update imp --docker host=tcp://h
context update imp --description new
context inspect imp
context update nope
context update default --description x
context rm imp one
context rm
context create
context foo
context
context export nope -
context use
context use a b
-c nope ps
-c nope context ls
""".strip().split("\n")

DOORS = """
--tls -H tcp://127.0.0.1:1 ps
--tlsverify -H tcp://127.0.0.1:1 ps
--tlsverify -H unix:///nope.sock ps
--tls --tlscacert {tmp}/ca.pem -H tcp://127.0.0.1:1 ps
--tls --tlscert {tmp}/cert.pem -H tcp://127.0.0.1:1 ps
--tls --tlscacert /nope -H tcp://127.0.0.1:1 ps
--tlsverify --tlscacert {tmp}/ca.pem --tlscert /nope -H tcp://127.0.0.1:1 ps
--tls --tlscacert {tmp}/ca.pem --tlscert {tmp}/cert.pem -H tcp://127.0.0.1:1 ps
--tls --tlscacert {tmp}/ca.pem --tlscert {tmp}/cert.pem --tlskey {tmp}/server-key.pem -H tcp://127.0.0.1:1 ps
--tls --tlscacert {tmp}/key.pem -H tcp://127.0.0.1:1 ps
--tls --tlscacert {tmp} -H tcp://127.0.0.1:1 ps
--tls --tlscacert "'{tmp}/ca.pem'" -H tcp://127.0.0.1:1 ps
--tls --tlscacert '' -H tcp://127.0.0.1:1 ps
--tls --tlscacert {tmp}/ca.pem --tlscert {tmp}/key.pem --tlskey {tmp}/key.pem -H tcp://127.0.0.1:1 ps
--tls --tlscacert {tmp}/ca.pem --tlscert {tmp}/cert.pem --tlskey {tmp}/cert.pem -H tcp://127.0.0.1:1 ps
--tls --tlscacert {tmp}/ca.pem --tlscert {tmp}/cert.pem --tlskey {tmp}/server.csr -H tcp://127.0.0.1:1 ps
--tls=false --tlsverify=false -H tcp://127.0.0.1:1 ps
--tls=false -H tcp://127.0.0.1:1 ps
DOCKER_TLS_VERIFY=1 -H tcp://127.0.0.1:1 ps
DOCKER_TLS_VERIFY=0 -H tcp://127.0.0.1:1 ps
DOCKER_TLS_VERIFY= -H tcp://127.0.0.1:1 ps
DOCKER_TLS=1 -H tcp://127.0.0.1:1 ps
DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH={tmp} -H tcp://127.0.0.1:1 ps
DOCKER_CERT_PATH=/nope DOCKER_TLS_VERIFY=1 -H tcp://127.0.0.1:1 ps
DOCKER_CERT_PATH=/nope -H tcp://127.0.0.1:1 ps
DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH={tmp} ps
DOCKER_HOST=tcp://127.0.0.1:1 ps
DOCKER_HOST=tcp:// ps
DOCKER_HOST=tcp://127.0.0.1 ps
DOCKER_HOST=127.0.0.1:1 ps
DOCKER_HOST=:1 ps
DOCKER_HOST=unix:///nope.sock ps
DOCKER_HOST=unix://nope.sock ps
DOCKER_HOST=foo://x ps
DOCKER_HOST=npipe:////./x ps
DOCKER_HOST=tcp://a://b ps
DOCKER_HOST=unix://a://b ps
DOCKER_HOST=tcp://h:x ps
DOCKER_HOST=tcp://[::1 ps
DOCKER_HOST=[::1]:1 ps
DOCKER_CONTEXT=nope ps
DOCKER_CONTEXT=nope DOCKER_HOST=tcp://127.0.0.1:1 ps
DOCKER_HOST=tcp://127.0.0.1:1 -c nope ps
DOCKER_HOST=tcp://127.0.0.1:1 -c default ps
DOCKER_CONTEXT=nope -H tcp://127.0.0.1:1 ps
-c nope -H tcp://127.0.0.1:1 ps
-c default -H tcp://127.0.0.1:1 ps
--context= -H tcp://127.0.0.1:1 ps
-H tcp://127.0.0.1:1 -H tcp://127.0.0.1:2 ps
-H tcp://127.0.0.1:1/path ps
DOCKER_TLS_VERIFY=1 DOCKER_HOST=tcp://127.0.0.1:1 context ls
DOCKER_TLS_VERIFY=1 DOCKER_HOST=tcp://127.0.0.1:1 context show
DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH={tmp} DOCKER_HOST=tcp://127.0.0.1:1 context inspect
DOCKER_TLS=1 DOCKER_CERT_PATH={tmp} DOCKER_HOST=tcp://127.0.0.1:1 context inspect -f '{{.Endpoints.docker}} {{.TLSMaterial}} {{.Storage}} {{.Metadata}}'
DOCKER_HOST=foo://x context ls
-H tcp://1.2.3.4 context inspect -f '{{.Endpoints.docker.Host}}'
DOCKER_HOST=tcp://127.0.0.1:1 info -f '{{.ClientInfo.Context}}'
DOCKER_HOST=tcp://127.0.0.1:1 info -f '{{json .ClientErrors}} {{.ServerErrors}}'
DOCKER_HOST=tcp://127.0.0.1:1 info -f '{{.Nope}}'
DOCKER_HOST=tcp://127.0.0.1:1 info -f '{{.ID}}|'
DOCKER_HOST=tcp://127.0.0.1:1 version -f '{{if .Server}}x{{else}}none{{end}}'
-H ssh:// ps
-H ssh://u:p@h ps
-H ssh://h:x ps
-H ssh://h?x ps
-H ssh://h#x ps
-H ssh://h/?x#y ps
""".strip().split("\n")

FORMATS = """
ps
ps -a --no-trunc
ps -q
ps -aq --no-trunc
ps -s
ps --format json
ps --format '{{json .}}'
ps --format table
ps --format '{{.ID}} {{.Names}} {{.Image}} {{.Command}} {{.RunningFor}} {{.Status}} {{.State}} {{.Ports}} {{.Mounts}} {{.Networks}} {{.LocalVolumes}}'
ps --format 'table {{.ID}}\\t{{.Names}}\\t{{.Status}}'
ps --format 'table {{.Names}}'
ps --format 'table {{upper .Names}}\\t{{.Ports}}'
ps --format 'table {{.Labels}}\\t{{.Label "com.example.my-label"}}'
ps --format '{{.Label "a"}}|{{.Label "nope"}}'
ps --format '{{.Labels}}'
ps --no-trunc --format '{{.Mounts}} {{.Command}}'
ps --format '{{.Nope}}'
ps --format 'table {{.Nope}}'
ps --format '{{.ID'
ps --format '{{nofn .ID}}'
ps --format '{{.ID | nofn}}'
ps --format '{{if eq .State "running"}}up{{else}}down{{end}}'
ps --format '{{if and .ID (ne .State "exited")}}{{.ID}}{{end}}'
ps --format '{{printf "%-10s|%5s|%q" .ID .State .Names}}'
ps --format '{{println .ID}}'
ps --format '{{len .ID}} {{index (split .Names ",") 0}} {{join (split .Names ",") "/"}}'
ps --format '{{title .State}} {{lower "ABC"}} {{pad .State 2 3}}| {{truncate .ID 4}}'
ps --format '{{with .Labels}}L={{.}}{{else}}none{{end}}'
ps --format '{{.ID}}\\t{{.State}}\\n'
ps --format raw
ps --format raw --size
ps --format '{{slice .ID 1 3}}'
ps --format '{{.State.X}}'
ps --format '{{index .Names 1}}'
ps --format '{{printf "%d %s" 5 5}} {{printf "%v"}} {{printf "a" 1}}'
ps --format '{{len 5}}'
ps --format '{{lt "a" 1}}'
ps --format 'a{{- .ID -}}b'
ps --format '{{/* nothing */}}{{.ID}}'
ps --format '{{$x := .ID}}{{$x}} {{$y := len $x}}{{$y}}'
ps --format '{{range $i, $w := split .Names ","}}{{$i}}:{{$w}} {{end}}'
ps --format '{{html "<a>"}} {{js "a\\"b"}} {{urlquery "a b/c"}} {{print .ID 1 2}}'
ps --format '{{not .ID}} {{or "" .ID}} {{and .ID ""}}'
ps --format '{{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge 1 2}} {{eq "a" "b" "a"}}'
ps --format '{{"x" | upper | printf "%s-%s" "y"}}'
ps --format ''
images
images -q
images --no-trunc
images --digests
images --format json
images --format '{{.Repository}}:{{.Tag}} {{.ID}} {{.Digest}} {{.Size}} {{.CreatedSince}} {{.Containers}} {{.SharedSize}} {{.UniqueSize}} {{.VirtualSize}}'
images --format 'table {{.Repository}}\\t{{.Size}}'
images --format '{{.Nope}}'
images --format raw
images --digests --format raw
volume ls
volume ls -q
volume ls --format raw
volume ls --format '{{.Nope}}'
volume ls --format json
volume ls --format 'table {{.Name}}\\t{{.Driver}}\\t{{.Scope}}'
volume ls --format '{{.Name}} {{.Mountpoint}} {{.Labels}} {{.Label "a"}} {{.Size}} {{.Links}} {{.Availability}} {{.Group}} {{.Status}}'
network ls
network ls -q
network ls --format raw
network ls --format 'table {{.Nope}}'
network ls --no-trunc
network ls --format json
network ls --format '{{.ID}} {{.Name}} {{.Driver}} {{.Scope}} {{.IPv4}} {{.IPv6}} {{.Internal}} {{.Labels}}'
network ls --format 'table {{.Name}}\\t{{.Driver}}'
history busybox
history -q busybox
history -H=false --no-trunc busybox
history --format json busybox
history --format '{{.ID}} {{.CreatedSince}} {{.CreatedBy}} {{.Size}} {{.Comment}}' busybox
history --format 'table {{.ID}}\\t{{.Size}}' busybox
system df
system df -v
system df --format json
system df --format 'table {{.Type}}\\t{{.Size}}\\t{{.Reclaimable}}'
system df --format '{{.Type}} {{.TotalCount}} {{.Active}} {{.Size}} {{.Reclaimable}}'
system df -v --format json
top one
top one -o pid,args
port one
port one 80
port one 80/udp
port one 99
port one x
diff one
logs one
inspect one
inspect -f '{{.Name}} {{.State.Status}} {{.Config.Cmd}} {{.Config.Env}} {{.NetworkSettings.Ports}}' one
inspect -f '{{json .Config.Cmd}} {{json .NetworkSettings.Ports}}' one
inspect -f json one
inspect -f '{{range $p, $b := .NetworkSettings.Ports}}{{$p}} -> {{(index $b 0).HostPort}} {{end}}' one
inspect -f '{{index .Config.Labels "a"}} {{.Config.Labels.a}} {{index .Config.Labels "nope"}}' one
inspect -f '{{.State.Running}} {{if .State.Running}}yes{{end}} {{.State.Pid}} {{.HostConfig.Memory}}' one
inspect -f '{{.Nope}}' one
inspect -f '{{.State.Nope}}' one
inspect -f '{{.Config.Cmd.x}}' one
inspect -f '{{index .Config.Cmd 9}}' one
inspect -f '{{range .Config.Env}}{{println .}}{{end}}' one
inspect -f '{{len .Config.Env}}' one
inspect -f '{{with .State}}{{.Status}}{{end}}' one
inspect -f '{{.HostConfig.RestartPolicy}} {{.HostConfig.LogConfig}}' one
inspect -f '{{.Name.First.Second.Third}}' one
inspect -f '{{.Mounts}} {{.HostConfig.Binds}} {{len .Mounts}}' one
inspect -f '{{json.State}}' one
inspect -f '{{lower}}{{.Name}}' one
inspect -f '{{split .Name}}' one
inspect -f '{{printf}}' one
inspect -f '{{join .Name ","}}' one
inspect -f '{{title 3}}' one
inspect -f '{{truncate .Name "x"}}' one
inspect -f '{{truncate .Name -1}}' one
inspect -f '{{index .Config.Labels 3}}' one
inspect -f '{{define "x"}}<{{.Name}}>{{end}}{{template "x" .}}{{template "x" .}}' one
inspect -f '{{block "y" .Config}}{{len .Cmd}}{{end}}!' one
inspect -f 'a{{template "x"}}' one
inspect -f '{{template}}' one
inspect -f '{{define x}}{{end}}' one
inspect -f '{{block "y"}}{{end}}' one
inspect -f '{{define "x"}}' one
ps --format '{{join .Names ","}}'
ps --format '{{upper}}'
ps --format '{{define "x"}}{{.Names}}{{end}}{{template "x" .}}'
inspect one nope
container inspect nope
inspect --type image one
image inspect -f '{{.Id}} {{.RepoTags}}' busybox
volume inspect data
network inspect bridge
network inspect -f '{{.Name}}' bridge nope
version -f '{{.Server.Version}} {{.Server.APIVersion}}'
version -f '{{.Nope}}'
info -f '{{.ServerVersion}} {{.Driver}} {{.NCPU}} {{.Swarm.LocalNodeState}}'
info -f '{{.Nope}}'
info -f '{{json .SecurityOptions}}'
events --since 1 --until 2
events --since 1 --until 2 --format json
events --since 1 --until 2 --format '{{.Type}} {{.Action}} {{.Actor.ID}} {{.ID}} {{.Status}} {{.From}} {{.Time}} {{.TimeNano}} {{.Scope}}'
events --since 1 --until 2 --format '{{.Actor.Attributes.name}} {{index .Actor.Attributes "image"}}'
events --since 1 --until 2 --format '{{.Nope}}'
stats --no-stream
stats --no-stream --no-trunc
stats --no-stream one
stats --no-stream --format json
stats --no-stream --format '{{.Container}} {{.Name}} {{.ID}} {{.CPUPerc}} {{.MemUsage}} {{.MemPerc}} {{.NetIO}} {{.BlockIO}} {{.PIDs}}'
stats --no-stream --format 'table {{.Name}}\\t{{.CPUPerc}}'
stats --no-stream nope
container ls --foo
container prune -f
image prune -f
volume prune -f
network prune -f
system prune -f
system prune -f --volumes
container top one
container port one
container logs one
container stats --no-stream one
container wait one
container diff one
inspect -f '{{upper .State.Pid}}' one
inspect -f '{{$x := .State.Pid}}{{upper $x}}' one
inspect -f '{{.State.Pid | upper}}' one
inspect -f '{{with .State.Pid}}{{upper .}}{{end}}' one
inspect -f '{{upper .State}}' one
inspect -f '{{upper .Config.Cmd}}' one
inspect -f '{{upper .State.Running}}' one
inspect -f '{{upper nil}}' one
inspect -f '{{upper true}}' one
inspect -f '{{pad .Name .State.Pid 3}}' one
inspect -f '{{.State.Pid.X}}' one
inspect -f '{{range .State.Running}}x{{end}}' one
inspect -f '{{index .Name 1}}' one
inspect -f '{{eq .Config.Cmd 1}}' one
inspect -f '{{define "x"}}{{.Nope}}{{end}}a{{template "x" .State}}' one
inspect -f '{{define "x"}}{{upper .State.Pid}}{{end}}{{template "x" .}}' one
inspect -f '{{block "y" .}}{{.Nope}}{{end}}' one
inspect -f '{{define "x"}}{{template "z" .}}{{end}}{{define "z"}}{{.Q}}{{end}}{{template "x" .}}' one
inspect -f '{{define "x"}}{{template "nope" .}}{{end}}{{template "x" .}}' one
inspect -f '{{define "x"}}{{template "x" .}}{{end}}{{template "x" .}}' one
inspect -f '{{define "a"}}A{{end}}{{define "a"}}B{{end}}{{template "a" .}}' one
inspect -f '{{define "a"}} {{end}}{{define "a"}}B{{end}}{{define "a"}} {{end}}{{template "a" .}}' one
inspect -f '{{define "x"}}{{$y}}{{end}}' one
inspect -f '{{$x}}' one
inspect -f '{{with $x := .Name}}{{$x}}{{end}}{{$x}}' one
inspect -f '{{if .State.Health}}h{{else}}none{{end}} {{.State.Health}} {{json .State.Health}}' full
inspect -f '{{.State.Health.Status}}' full
inspect -f '{{.SizeRw}} {{.SizeRootFs}} {{.Config.Healthcheck}} {{.Config.ExposedPorts}} {{json .Config.ExposedPorts}}' full
inspect -f '{{.Config.StopSignal}}|{{.Config.StopTimeout}}|{{.Config.MacAddress}}|{{.Config.Shell}}|{{.Config.User}}' full
inspect -f '{{.HostConfig.Init}} {{.HostConfig.Mounts}} {{.HostConfig.Sysctls}} {{.HostConfig.Tmpfs}} {{.HostConfig.StorageOpt}} {{.HostConfig.Annotations}}' full
inspect -f '{{range .Mounts}}{{.Type}} {{.Name}} {{.Driver}} {{.Destination}}{{end}}' full
inspect -f '{{.ContainerJSONBase.Name}} {{.HostConfig.Resources.Memory}}' full
inspect -f '{{.Config.Nope}}' full
inspect -f '{{.HostConfig.LogConfig.Config.nope}}' full
inspect -f '{{.NetworkSettings.Networks.nope.IPAddress}}' full
inspect -f '{{printf "%s" .Config.Cmd}} {{printf "%q" .Config.Cmd}} {{printf "%d" .Config.Cmd}}' one
inspect -f '{{printf "%c %U %o %b %X %#v" 65 65 65 65 65 .Name}}' one
inspect -f '{{printf "%!"}} {{printf "%z" 1}} {{printf "%*d" 5 1}} {{printf "%[2]d %[1]d" 1 2}} {{printf "%[3]d" 1}} {{printf "%d" 1 2}}' one
inspect -f '{{.Name}' one
inspect -f '{{"abc}}' one
inspect -f '{{.Name | }}' one
inspect -f '{{| .Name}}' one
inspect -f '{{.Name)}}' one
inspect -f '{{/* a' one
inspect -f '{{/* a */ }}' one
inspect -f '{{- /* a */ -}} x' one
inspect -f '{{-.Name}}' one
image inspect -f '{{.Variant}}|{{.OsVersion}}|{{.Config.Entrypoint}}|{{.Config.Labels}}|{{.Config.User}}|{{json .Config.Labels}}' bare
volume inspect -f '{{.UsageData}} {{.Status}}' bare
network inspect -f '{{.Peers}} {{.Services}}' bridge
stats --no-stream --format '{{.Nope}}'
ps --format '{{define "x"}}{{.Nope}}{{end}}{{template "x" .}}'
info -f '{{.NCPU.X}}'
info -f '{{.Swarm.X}}'
version -f '{{.Client.Nope}}'
version -f '{{.Server.Nope}}'
ps --format '{{.Label}}'
ps --format '{{.Label "x" "y"}}'
images -q --format x
images -q --format table
volume ls -q --format x
network ls -q --format x
history -q --format x busybox
history --format '{{.Nope}}' busybox
system df -v --format '{{.Nope}}'
system df -v --format '{{json .Images}}'
system df -v --format '{{json .}}'
system df -v --format '{{len .Images}} {{(index .Images 0).Repository}} {{range .Volumes}}{{.Name}} {{.Size}};{{end}}'
system df -v --format '{{range .Containers}}{{.Names}} {{.Label "a"}}|{{json .}}{{end}}'
system df -v --format 'a\\tb\\n'
system df -v --format '{{'
system df --format '{{json .}}'
ps --format '{{printf "%T %v" .Names .State}}'
ps --format '{{.Names "x"}}'
ps --format '{{.Platform}} {{json .Platform}}'
ps --format '{{if .Platform}}p{{else}}none{{end}}'
ps --format 'table {{.Names}}\\t{{.Nope.X}}'
ps --format 'table {{join (split .Names ",") "/"}}\\t{{len .ID}}'
ps --format 'table {{range $i, $n := split .Names ","}}{{$n}}{{end}}'
ps --format 'table {{index (split .Names ",") 0}}\\t{{.ID}}'
ps --format 'table {{.ID}}{{/* x */}} {{.Names}}'
ps --format 'table {{if .ID}}{{.Names}}{{end}}\\t{{json .ID}}\\t{{pad .State 2 2}}|'
events --since 1 --until 2 --format '{{.Actor}} {{.Actor.Attributes}} {{printf "%T" .Type}}'
events --since 1 --until 2 --format '{{.}}'
events --since 1 --until 2 --format '{{json .}}'
events --since 1 --until 2 --format '{{json .Actor}}'
events --since 1 --until 2 --format '{{index .Actor.Attributes "x"}}|{{upper .Type}}'
version -f '{{.Server.Components}} {{.Server.Platform.Name}}'
version -f '{{json .Server}}'
version -f '{{range .Server.Components}}{{.Name}}={{.Version}} {{index .Details "Os"}};{{end}}'
version -f 'a\\tb{{"\\t"}}c'
info -f '{{.Swarm}} {{.Plugins}} {{.RegistryConfig}} {{.Runtimes}}'
info -f '{{json .Swarm}}'
info -f '{{.SecurityOptions}} {{len .SecurityOptions}} {{.Nope}}'
system df --format '{{.Nope}}'
port one ''
--log-level= port one
""".strip().split("\n")

SESSIONS = {"contexts": CONTEXTS, "doors": DOORS, "formats": FORMATS}


# -- a daemon with something to show --------------------------------------------------------------


def _ago(seconds: int) -> int:
    return int(time.time()) - seconds


def _rfc(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.123456789Z", time.gmtime(_ago(seconds)))


def _containers() -> list[dict[str, Any]]:
    return [
        {
            "Id": ID,
            "Names": ["/web", "/other/alias"],
            "Image": "busybox",
            "ImageID": DIGEST,
            "Command": "sh -c 'while true; do sleep 1; done'",
            "Created": _ago(3 * 3600 + 60),
            "Ports": [
                {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
                {"IP": "0.0.0.0", "PrivatePort": 81, "PublicPort": 8081, "Type": "tcp"},
                {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
                {"PrivatePort": 53, "Type": "udp"},
                {"PrivatePort": 54, "Type": "udp"},
                {"IP": "127.0.0.1", "PrivatePort": 9, "PublicPort": 99, "Type": "tcp"},
            ],
            "Labels": {"a": "1", "com.example.my-label": "two"},
            "State": "running",
            "Status": "Up 2 hours (healthy)",
            "HostConfig": {"NetworkMode": "bridge"},
            "NetworkSettings": {"Networks": {"bridge": {}}},
            "Mounts": [
                {"Type": "volume", "Name": "data" * 8, "Source": "", "Destination": "/d"},
                {"Type": "bind", "Source": "/very/long/path/on/host", "Destination": "/e"},
            ],
            "SizeRw": 12345,
            "SizeRootFs": 1234567,
        },
        {
            "Id": OTHER,
            "Names": ["/db"],
            "Image": DIGEST,
            "ImageID": DIGEST,
            "Command": "",
            "Created": _ago(90),
            "Ports": [],
            "Labels": {},
            "State": "exited",
            "Status": "Exited (0) 3 seconds ago",
            "HostConfig": {"NetworkMode": "none"},
            "NetworkSettings": {"Networks": {"none": {}}},
            "Mounts": [],
        },
    ]


def _images() -> list[dict[str, Any]]:
    common = {"ParentId": "", "Created": _ago(15 * 86400 + 3600), "SharedSize": -1, "Labels": None}
    return [
        common
        | {
            "Id": DIGEST,
            "RepoTags": ["busybox:latest"],
            "RepoDigests": ["busybox@sha256:" + "aa" * 32],
            "Size": 4_261_550,
            "VirtualSize": 4_261_550,
            "Containers": -1,
        },
        common
        | {
            "Id": "sha256:" + "c3" * 32,
            "RepoTags": ["localhost:5000/a/b:v1"],
            "RepoDigests": [],
            "Size": 77_000,
            "Containers": -1,
        },
        common
        | {
            "Id": "sha256:" + "9b" * 32,
            "RepoTags": [],
            "RepoDigests": [],
            "Size": 123,
            "Containers": 2,
        },
    ]


def _volumes() -> list[dict[str, Any]]:
    first = {"CreatedAt": "2024-01-02T03:04:05Z", "Driver": "local", "Labels": {"a": "b"}}
    first |= {"Mountpoint": "/v/data/_data", "Name": "data", "Options": None, "Scope": "local"}
    usage = {"UsageData": {"RefCount": 1, "Size": 2048}}
    second = {**first, "Name": "f0" * 32, "Labels": None}
    return [first | usage, second | {"UsageData": {"Size": 5_000_000, "RefCount": 0}}]


def _networks() -> list[dict[str, Any]]:
    common = {"Scope": "local", "EnableIPv6": False, "EnableIPv4": True, "Internal": False}
    common |= {"Created": "2024-01-02T03:04:05.000000006Z", "Labels": {}, "Options": {}}
    common |= {"Attachable": False, "Ingress": False, "ConfigOnly": False, "Containers": {}}
    common |= {"IPAM": {"Driver": "default", "Options": None, "Config": []}}
    return [
        {"Name": name, "Id": letter * 64, "Driver": driver} | common
        for name, letter, driver in (("bridge", "b", "bridge"), ("none", "c", "null"))
    ]


def _history() -> list[dict[str, Any]]:
    return [
        {
            "Id": DIGEST,
            "Created": _ago(86400 * 21 + 3600),
            "CreatedBy": '/bin/sh -c #(nop)  CMD ["sh"] and a very long line that is cut',
            "Size": 0,
            "Comment": "a comment",
            "Tags": ["busybox:latest"],
        },
        {
            "Id": "<missing>",
            "Created": _ago(86400 * 22 + 3600),
            "CreatedBy": "/bin/sh -c #(nop) ADD file:\t7 in / ",
            "Size": 4_261_550,
            "Comment": "",
            "Tags": None,
        },
    ]


INSPECTED: dict[str, Any] = {
    "Id": ID,
    "Created": "2024-01-02T03:04:05.000000006Z",
    "Path": "sh",
    "Args": ["-c", "x <y>"],
    "State": {"Status": "running", "Running": True, "Paused": False, "Pid": 42, "ExitCode": 0},
    "Image": DIGEST,
    "Name": "/one",
    "HostConfig": {
        "Memory": 0,
        "NetworkMode": "default",
        "Binds": None,
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "LogConfig": {"Type": "json-file", "Config": {}},
    },
    "Mounts": [],
    "Config": {
        "Cmd": ["sh", "-c", "x <y>"],
        "Env": ["A=b", "C=d e"],
        "Labels": {"a": "1"},
        "Tty": False,
    },
    "NetworkSettings": {
        "Ports": {
            "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}],
            "80/udp": [{"HostIp": "::", "HostPort": "8080"}],
            "9/tcp": [{"HostIp": "127.0.0.1", "HostPort": "10"}],
        }
    },
}

# With all that a container always has, and nothing that it may have.
FULL: dict[str, Any] = {
    **INSPECTED,
    "State": {"Status": "exited", "OOMKilled": False, "FinishedAt": "", "Pid": 0},
    "Config": {"AttachStdin": False, "Cmd": ["sh"], "Env": None, "Labels": {}, "User": ""},
    "HostConfig": {
        "NetworkMode": "bridge",
        "Binds": None,
        "NanoCpus": 5,
        **INSPECTED["HostConfig"],
    },
    "Mounts": [{"Type": "bind", "Source": "/a", "Destination": "/b", "Mode": "", "RW": True}],
    "NetworkSettings": {"SandboxID": "", "Ports": {}, "Networks": {"bridge": {"IPAddress": ""}}},
}

VERSION = {
    "Platform": {"Name": "An Engine - Community"},
    "Components": [
        {
            "Name": "Engine",
            "Version": "9.8.7",
            "Details": {
                "ApiVersion": "1.50",
                "Arch": "amd64",
                "BuildTime": "2024-01-02T03:04:05.000000000+00:00",
                "Experimental": "false",
                "GitCommit": "abc",
                "GoVersion": "go1",
                "KernelVersion": "6.1",
                "MinAPIVersion": "1.24",
                "Os": "linux",
            },
        },
        {"Name": "helper", "Version": "1.2", "Details": {"GitCommit": "def"}},
    ],
    "Version": "9.8.7",
    "ApiVersion": "1.50",
    "MinAPIVersion": "1.24",
    "GitCommit": "abc",
    "GoVersion": "go1",
    "Os": "linux",
    "Arch": "amd64",
    "KernelVersion": "6.1",
    "BuildTime": "2024-01-02T03:04:05.000000000+00:00",
}

INFO = {
    "ID": "x",
    "ServerVersion": "9.8.7",
    "Driver": "overlay2",
    "NCPU": 2,
    "OSType": "linux",
    "Swarm": {"LocalNodeState": "inactive", "ControlAvailable": False},
    "SecurityOptions": ["name=seccomp,profile=builtin", "name=<b>"],
}

EVENTS = [
    {
        "status": "start",
        "id": ID,
        "from": "busybox",
        "Type": "container",
        "Action": "start",
        "Actor": {"ID": ID, "Attributes": {"image": "busybox", "name": "web"}},
        "scope": "local",
        "time": 1700000000,
        "timeNano": 1700000000123456789,
    },
    {
        "Type": "network",
        "Action": "connect",
        "Actor": {"ID": "b" * 64, "Attributes": {"name": "bridge", "type": "bridge"}},
        "scope": "local",
        "time": 1700000001,
        "timeNano": 1700000001000000000,
    },
]

STATS = {
    "id": ID,
    "name": "/web",
    "read": "2024-01-02T03:04:06Z",
    "preread": "2024-01-02T03:04:05Z",
    "pids_stats": {"current": 3, "limit": 100},
    "networks": {"eth0": {"rx_bytes": 1296, "tx_bytes": 8_000_000}},
    "memory_stats": {
        "usage": 9_000_000,
        "limit": 67_108_864,
        "stats": {"inactive_file": 1_000_000},
    },
    "blkio_stats": {
        "io_service_bytes_recursive": [
            {"major": 8, "minor": 0, "op": "read", "value": 4096},
            {"major": 8, "minor": 0, "op": "write", "value": 1_000_000},
        ]
    },
    "cpu_stats": {
        "cpu_usage": {"total_usage": 2_000_000_000},
        "system_cpu_usage": 20_000_000_000,
        "online_cpus": 2,
    },
    "precpu_stats": {
        "cpu_usage": {"total_usage": 1_900_000_000},
        "system_cpu_usage": 18_000_000_000,
        "online_cpus": 2,
    },
}


def _disk_use() -> dict[str, Any]:
    cache = {
        "ID": "c0ffee",
        "Type": "regular",
        "Description": "mount / from exec",
        "InUse": False,
        "Shared": False,
        "Size": 4_000_000,
        "CreatedAt": _rfc(7300),
        "LastUsedAt": _rfc(4000),
        "UsageCount": 2,
    }
    images = [{**each, "SharedSize": 0, "Containers": 1} for each in _images()]
    return {
        "LayersSize": 4_261_673,
        "Images": images,
        "Containers": _containers(),
        "Volumes": _volumes(),
        "BuildCache": [cache],
    }


def answer(request: Request) -> Answer:
    path = request.path
    documents: dict[str, Any] = {
        "/containers/json": _containers,
        "/images/json": _images,
        "/images/busybox/history": _history,
        "/networks": _networks,
        "/version": lambda: VERSION,
        "/info": lambda: INFO,
        "/system/df": _disk_use,
        "/volumes": lambda: {"Volumes": _volumes(), "Warnings": None},
        "/volumes/data": lambda: _volumes()[0],
        "/networks/bridge": lambda: _networks()[0],
        "/containers/one/changes": lambda: [
            {"Path": "/a", "Kind": 0},
            {"Path": "/a/b", "Kind": 1},
            {"Path": "/c", "Kind": 2},
        ],
        "/containers/one/top": lambda: {
            "Titles": ["PID", "USER", "COMMAND"],
            "Processes": [["1", "root", "sh -c x"], ["22", "nobody", "sleep"]],
        },
        "/containers/one/wait": lambda: {"StatusCode": 3},
        "/containers/full/json": lambda: FULL,
        "/images/bare/json": lambda: {
            "Id": DIGEST,
            "Architecture": "amd64",
            "Config": {"Cmd": ["sh"]},
            "RootFS": {"Type": "layers", "Layers": [DIGEST]},
        },
        "/volumes/bare": lambda: {
            **dict.fromkeys(("Name", "Driver", "Mountpoint", "Scope"), ""),
            "Labels": None,
            "Options": None,
        },
        "/images/busybox/json": lambda: {"Id": DIGEST, "RepoTags": ["busybox:latest"]},
        "/build/prune": lambda: {"CachesDeleted": ["c0ffee"], "SpaceReclaimed": 4_000_000},
        "/containers/prune": lambda: {"ContainersDeleted": [ID, OTHER], "SpaceReclaimed": 1234},
        "/networks/prune": lambda: {"NetworksDeleted": ["mine"]},
        "/volumes/prune": lambda: {"VolumesDeleted": ["data"], "SpaceReclaimed": 99_999},
        "/images/prune": lambda: {
            "ImagesDeleted": [{"Untagged": "a:b"}, {"Deleted": DIGEST}],
            "SpaceReclaimed": 5_000_000_000,
        },
    }
    if path in documents:
        return Answer(document=documents[path]())
    if path in ("/containers/one/json", "/containers/two/json", f"/containers/{ID}/json"):
        return Answer(document=INSPECTED)
    if path.endswith("/stats") and "nope" not in path:
        return Answer(chunks=[json.dumps(STATS).encode()])
    if path == "/events":
        return Answer(chunks=[json.dumps(each).encode() + b"\n" for each in EVENTS])
    if path.endswith("/logs"):
        frame = b"\x01\0\0\0\0\0\0\x04out\n\x02\0\0\0\0\0\0\x04err\n"
        return Answer(chunks=[frame], headers={"Content-Type": "application/x-multiplexed"})
    if "nope" in path:
        kind = path.split("/")[1].removesuffix("s")
        return error(404, f"No such {kind}: nope")
    return answer_anything(request)


# -- running one ----------------------------------------------------------------------------------

_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?[+-]\d{4}( UTC)?|Z|[+-]\d\d:\d\d)?"
)


def run_session(program: list[str], name: str, directory: str) -> dict[str, dict[str, Any]]:
    """What each line of the session says, made comparable."""
    make_certificates(directory)
    said: dict[str, dict[str, Any]] = {}
    with FakeDaemon() as daemon:
        daemon.answer = answer  # type: ignore[method-assign]
        environment = {"PATH": os.environ["PATH"], "HOME": directory, "TZ": "UTC"}
        environment |= {"DOCKER_CONFIG": f"{directory}/config"}
        options = ["-H", daemon.host] if name == "formats" else []
        for number, line in enumerate(SESSIONS[name]):
            words = shlex.split(line.replace("{tmp}", directory))
            settings = [word for word in words if word.startswith("DOCKER_")]
            done = subprocess.run(
                [*program, *options, *words[len(settings) :]],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                cwd=directory,
                env=environment | dict(each.split("=", 1) for each in settings),
                timeout=patient(60),
                check=False,
            )
            said[f"{number} {line}"] = {
                "code": done.returncode,
                "stdout": comparable(done.stdout, directory, name),
                "stderr": comparable(done.stderr, directory, name),
            }
    return said


def comparable(text: str, directory: str, name: str) -> str:
    text = text.replace(directory, "{tmp}").replace("tiffin", "docker")
    text = text.replace("unix:///run/docker/docker.sock", "unix:///var/run/docker.sock")
    if name == "contexts":  # columns are as wide as the paths in them
        text = re.sub(" +", " ", text)
    return _TIME.sub("{time}", text)
