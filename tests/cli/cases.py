"""Command lines whose requests are compared with those of Docker's own CLI."""
# ruff: noqa: E501 - a command line is a line

from __future__ import annotations

import shlex

_RUN = """
run --rm busybox true
run -d busybox
run -dp 3000:3000 getting-started
run -itd --name web -h host -w /srv -u 1000:1000 busybox sh -c 'echo $HOME'
run -d -p 80 -p 127.0.0.1::81 -p 8080-8082:90-92/udp -p [::1]:53:53/tcp -P busybox
run -d -p 7000-7010:80 -p published=81,target=82,protocol=udp busybox
run -d --expose 99 --expose 100-101/udp --publish 5:6 busybox
run -d -v /a:/b:ro -v data:/c -v /anonymous -v ./here:/there -v x busybox
run -d --mount type=bind,src=/a,dst=/b,readonly --mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770 busybox
run -d --mount source=vol,target=/v,volume-label=a=b,volume-driver=local,volume-opt=type=nfs,volume-nocopy busybox
run -d --mount type=bind,src=/a,dst=/b,bind-propagation=rslave,bind-recursive=disabled busybox
run -d --mount 'type=bind,"src=/a,b",dst=/b,consistency=cached' busybox
run -d --mount type=volume,src=v,dst=/v,volume-subpath=sub --mount type=image,src=i,dst=/i,image-subpath=s busybox
run -d -e A=b -e C= -e PATH_THAT_IS_NOT_SET --env D=e=f busybox
run -d -m 64m --cpus 1.5 --pids-limit 50 --memory-swap -1 --memory-reservation 1.5g --shm-size 1gb busybox
run -d -c 512 --cpu-period 100000 --cpu-quota=50000 --cpuset-cpus 0-1 --cpuset-mems 0 busybox
run -d --cap-add net_admin --cap-add CAP_SYS_TIME --cap-drop all --cap-drop chown busybox
run -d --privileged --userns host --pid host --uts host --ipc host --network host busybox
run -d --network none --entrypoint /bin/sh busybox -c true
run -d --entrypoint= busybox
run -d --network container:web busybox
run -d --net mynet --network-alias a --net-alias b --ip 10.0.0.9 --link web:w busybox
run -d --network name=mynet,alias=x,ip=10.0.0.2,driver-opt=a=b,gw-priority=3 --network other busybox
run -d --network name= busybox
run -d --network =x busybox
run -d --network name=x,alias=y busybox
run -d --link web:w --mac-address 92:d0:c6:0a:29:33 busybox
run -d -l a=b --label c --read-only --tmpfs /run --tmpfs /x:size=1m,mode=700 busybox
run -d --ulimit nofile=1024:2048 --ulimit core=0 --sysctl net.ipv4.ip_forward=1 busybox
run -d --add-host a:1.2.3.4 --add-host b=::1 --add-host c:host-gateway --dns 1.1.1.1 --dns-search . --dns-option ndots:2 --dns-opt x busybox
run -d --stop-signal INT --stop-timeout 3 --init --restart on-failure:3 busybox
run -d --restart unless-stopped --restart always busybox
run -d --security-opt no-new-privileges --security-opt seccomp=unconfined --security-opt systempaths=unconfined busybox
run -d --security-opt apparmor:unconfined --device /dev/fuse --device /dev/a:/dev/b:r --device /dev/c:rw busybox
run -d --group-add 5 --group-add audio --cidfile {tmp}/cid --volumes-from web --volume-driver x busybox
run -d --health-cmd 'curl x' --health-interval 1m30s --health-retries 3 --health-timeout 2s --health-start-period 500ms --health-start-interval 1s busybox
run -d --no-healthcheck --log-driver json-file --log-opt max-size=1m --storage-opt size=1g busybox
run -d --oom-kill-disable --oom-score-adj -500 --memory-swappiness 0 --blkio-weight 300 busybox
run -d --blkio-weight-device /dev/sda:100 --device-read-bps /dev/sda:1mb --device-write-iops /dev/sda:10 --device-cgroup-rule 'c 1:3 rwm' busybox
run -d --cgroupns host --cgroup-parent /x --runtime crun --isolation default --annotation a=b --domainname d busybox
run -d --gpus all busybox
run -d --platform linux/arm64 --name p busybox
run -a stdout --rm busybox true
run -a stdin -a STDERR busybox cat
run -i --rm busybox cat
run --rm=true --init=false -i=false busybox true
create --name made --pull never busybox ls -l
create --cpus 2e-1 --cpu-quota 010000 --cpu-period 0x2710 --memory 99999999999g busybox
create --cpus 1/4 --kernel-memory 5m --mac-address '' busybox
create --gpus 0 busybox
create --gpus 'device=0,options=a' busybox
create --platform LINUX/x86-64 busybox
container run -d busybox
container create busybox
""".strip()

_OTHERS = """
ps -a -n 3 -s -f status=exited -f label=a=b --no-trunc
ps -lq
ps --format {{.Size}}
ps --format json
ps --format '{{json .}}'
ps --format '{{json .Names}}'
container ls -a
start one two
stop -t 3 -s INT one
stop one
restart -t 1 one
kill one
kill -s USR1 one
rm -f -v one
rename one two
pause one
unpause one
wait one
update -m 64m --cpus 2 --restart no --pids-limit 7 one
top one -o pid,args
diff one
port one
commit -a me -m message -c 'CMD ["x"]' -c 'ENV a=b' one repo:tag
commit -p=false one localhost:5000/x
commit one
commit one ''
images -a -f dangling=true repo
images --digests
tag busybox localhost:5000/a/b:c
tag busybox other
rmi -f --no-prune a b
rmi --platform linux/amd64,linux/arm64/v8 a
rmi localhost:5000/a:b
history --no-trunc busybox
history --platform linux/arm64 busybox
image inspect --platform linux/amd64 busybox
image prune -f -a --filter until=1h
container prune -f
volume create v -d local -o type=nfs -o device=x --label a=b
volume create
volume ls -f dangling=1
volume rm -f v w
volume prune -f -a
volume inspect v
network ls -f driver=bridge
network create n
network create -d bridge --internal --ipv6 --subnet 10.9.0.0/16 --gateway 10.9.0.1 --ip-range 10.9.1.0/24 --aux-address a=10.9.0.2 -o x=y --label l=m --attachable n
network create --subnet x n
network create --subnet 10.9.0.0/16 --subnet fd00::/64 --gateway fd00::1 --gateway 10.9.0.1 n
stop --time 3 one
update --kernel-memory 5m one
ps --filter =x
network connect --ip 10.9.0.7 --alias x n one
network disconnect -f n one
network rm n
network inspect n
network prune -f
system df
builder prune -f -a
pull busybox
pull -q localhost:5000/a/b:c
pull -a localhost:5000/a/b
pull --platform linux/arm64 busybox@sha256:7cc4b5aefd1d0cadf8d97d4350462ba51c694ebca145b08d7d41b41acc8db5aa
push localhost:5000/a/b:c
push -a localhost:5000/a/b
inspect one
inspect -s one
inspect --type image busybox
events --since 1 --until 2 -f type=container
info
version
exec one true
exec -d -e A=b -u root -w / --privileged one ls -l
save -o {tmp}/x.tar a b
export -o {tmp}/y.tar one
load -i {archive}
import -m message -c 'CMD x' {archive} repo:tag
import {archive}
import http://example.com/x.tar repo
search -f stars=3 --limit 5 busybox
search localhost:5000/x
logs one
logs -t --tail 5 --since 1700000000 --until 1700000001.5 one
start /one
stop one/
rm ../../x
kill ../one
volume rm /v
network inspect .
image inspect a//b
rmi ./a
""".strip()


def command_lines() -> list[str]:
    return [*_RUN.split("\n"), *_OTHERS.split("\n")]


def words_of(line: str, directory: str) -> list[str]:
    filled = line.replace("{tmp}", directory).replace("{archive}", f"{directory}/archive.tar")
    return shlex.split(filled)


# Wrong command lines, and what one hears of them before a daemon is asked for anything.
WORDS = """
foo
run
run --foo
run -zz busybox
run -m
run -m x busybox
run -m 1x busybox
run --cpus x busybox
run -q=x busybox
run -e = busybox
run -p x busybox
run -p 99999:1 busybox
run -p 1:2:3:4 busybox
run -p 80-81:90-92 busybox
run -v : busybox
run --mount foo busybox
run --mount type=bind,src=/x busybox
run --mount type=tmpfs,dst=/x,bind-propagation=shared busybox
run --memory-swappiness 200 busybox
run --pid foo busybox
run --uts x busybox
run --userns x busybox
run --restart x:y busybox
run --restart :1 busybox
run --rm --restart always busybox
run -d -a stdout busybox
run -a foo busybox
run --env-file /no/such/file busybox
run --ulimit x busybox
run --ulimit foo=1 busybox
run --ulimit nofile=2:1 busybox
run --add-host x busybox
run --add-host x:y busybox
run --dns x busybox
run --dns-search _ busybox
run --device x busybox
run --device /dev/a:/b:q busybox
run --label '' busybox
run --label 'a b=c' busybox
run --network-alias x busybox
run --net a --net host busybox
run --pull foo busybox
run --sysctl foo=bar busybox
run --mac-address foo busybox
run --security-opt foo busybox
run --security-opt seccomp=/no/such/file busybox
run --health-interval 5 busybox
run --health-interval -5s busybox
run --no-healthcheck --health-cmd x busybox
run --expose x busybox
run --expose 1:2 busybox
run --gpus foo busybox
run --link a:b:c busybox
run --storage-opt x busybox
run --log-driver none --log-opt a=b busybox
run --blkio-weight-device x busybox
run --device-read-bps /dev/sda:x busybox
run --device-cgroup-rule x busybox
run --stop-timeout x busybox
run -it busybox
create
exec
exec one
ps extra
ps --foo
ps -n x
ps --filter foo
start
start -a a b
stop
rename one
rename one ' '
tag busybox
tag busybox UP
rmi
logs
logs a b
port
port a b c
commit
commit one UP
commit one name@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
commit '' name
events --since foo
cp
cp a b
cp '' one:/
inspect
inspect --type foo one
inspect -f '{{' one
inspect -f '{{nofn .}}' one
version -f '{{'
images a b
pull
pull UP
pull a:b@c
pull -a busybox:tag
push
push -a busybox:tag
save
save -o /no/such/x busybox
save -o /dev/null busybox
export -o /tmp one
export -o /dev/full one
load -i /no/such/file
import /no/such/file
build
build -t UP .
build /no/such/directory
build -f nosuch .
volume foo
volume create a b
volume rm
volume prune --filter foo
network foo
network rm
network create
network create --ip-range 10.0.0.0/8 x
image foo
image tag a
container foo
container rename a
system foo
update one
login --password-stdin
-z
--foo
-H
help foo
ps --help=false extra
create --platform foo busybox
run --platform linux/ busybox
run --platform linux/amd64/v1/x busybox
create --platform 'a b' busybox
create --platform 'linux*' busybox
push --platform foo busybox
history --platform foo busybox
save --platform foo -o {tmp}/x busybox
load --platform foo -i {archive}
rmi --platform foo busybox
image inspect --platform a/b/c/d busybox
run --cpus 1/3 busybox
run --cpus 1/0 busybox
run --cpus 1e busybox
run --cpu-quota 09 busybox
run --pids-limit 99999999999999999999 busybox
run --blkio-weight 70000 busybox
run --blkio-weight -1 busybox
run --blkio-weight x busybox
run --mount '' busybox
run --mount 'type=bind,"src=/a,dst=/b' busybox
run --mount 'type=bind,"src=/a"b,dst=/b' busybox
run --mount 'type=bind,src=/a"b,dst=/b' busybox
run -p [::1:80:80 busybox
run --expose '' busybox
run --expose 90-80 busybox
run --expose 70000 busybox
run --env-file / busybox
run --label-file / busybox
run --gpus '' busybox
run --gpus all,count=1 busybox
run --gpus 'options="' busybox
run --security-opt seccomp=/ busybox
run ''
run -itz busybox
run -itm
run --help=x
run ---x
run --=x busybox
--help=x
stop '' one
rm '' one
rm / one
kill ''
wait ''
rename '' a
diff ''
container inspect '' one
image inspect ''
volume inspect ''
network inspect ''
inspect ''
volume rm '' v
network rm ''
network create --subnet 10.0.0.0/8 --gateway x y
network create --aux-address x y
network create --aux-address a=b --subnet 10.77.0.0/24 y
network create --subnet 10.77.0.0/24 --subnet 10.77.0.0/25 y
network create --subnet x --subnet y y
network create --subnet x --gateway 1.2.3.4 y
network create --subnet 10.77.0.0/24 --ip-range x y
network create --subnet 10.77.0.0/24 --ip-range 10.78.0.0/25 y
network create --subnet 10.77.0.0/24 --subnet 10.78.0.0/24 --gateway 10.77.0.1 --gateway 10.77.0.2 y
network create --subnet 10.77.0.0/24 --subnet 10.78.0.0/24 --ip-range 10.77.0.0/25 --ip-range 10.77.0.0/26 y
network connect --driver-opt x bridge one
volume create --name a b
tag '' x
import {archive} UP
import
login -u x -p y --password-stdin
logout
logout foo
port one 99999
context create ''
events --format '{{.Nope}}'
""".strip().split("\n")
