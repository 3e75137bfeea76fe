"""What root in a container may: capabilities, devices, what of the kernel it sees and writes."""

from __future__ import annotations

import json
import os
import shutil
import stat
from typing import Any

import pytest

from tests.kernel.runtime_bench import Bench, bind
from tests.threats.arena import libraries, outcome
from tiffin.core.container import HostConfig
from tiffin.core.image import ContainerConfig
from tiffin.errors import InvalidArgument
from tiffin.kernel import cgroup
from tiffin.runtime import capabilities, devices, planning
from tiffin.runtime.facts import HostFacts
from tiffin.runtime.spec import validate

pytestmark = pytest.mark.root

HOST = cgroup.detect()
OF_HOST = HostConfig(userns_mode="host")
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


async def capability_sets(bench: Bench, *, by_exec: bool, user: str = "") -> dict[str, int]:
    command = ("grep", "^Cap", "/proc/self/status")
    if by_exec:
        workload = bench.workload("sleep", "1000", user=user)
        await bench.start(workload)
        _, peer = await bench.exec(workload, *command, user=user)
        assert peer is not None
        text = (await peer.frames())[1].decode()
    else:
        _, text = await bench.run(*command, user=user)
    pairs = (line.split(":") for line in text.splitlines())
    return {name: int(value, 16) for name, value in pairs}


@pytest.mark.threat("capabilities")
@pytest.mark.parametrize("by_exec", [False, True])
def test_root_has_dockers_fourteen_capabilities(by_exec: bool) -> None:
    """One capability too many is the host (SYS_ADMIN, SYS_MODULE, DAC_READ_SEARCH); one that is
    inheritable or ambient survives a change of user (CVE-2022-24769, CVE-2022-27649).

    Defence: bounding, permitted and effective sets are the plan's; inheritable and ambient are
    empty. An exec has the container's, not the engine's.
    Seen to fail: with SYS_ADMIN in the plan, and with an inheritable set like the permitted one.
    """
    exactly = capabilities.mask_of(capabilities.DEFAULT)
    assert len(capabilities.DEFAULT) == 14

    def more(config: dict[str, Any]) -> None:
        for names in config["process"]["capabilities"].values():
            names.append("CAP_SYS_ADMIN")

    async def attack(bench: Bench) -> dict[str, int]:
        return await capability_sets(bench, by_exec=by_exec)

    right = dict(zip(SETS, (0, exactly, exactly, exactly, 0), strict=True))
    assert outcome(attack) == right
    assert outcome(attack, plan=more) != right
    assert outcome(attack, without="inheritable")["CapInh"] == exactly


@pytest.mark.threat("capabilities")
@pytest.mark.parametrize("by_exec", [False, True])
def test_another_user_has_no_capability(by_exec: bool) -> None:
    """A program that runs as nobody keeps what root had, where sets are not cleared.

    Defence: setresuid before the sets are set, and the kernel clears them at the exec since none
    is inheritable or ambient.
    Seen to fail: with an ambient set in the plan the program has it.
    """

    def ambient(config: dict[str, Any]) -> None:
        sets = config["process"]["capabilities"]
        sets["inheritable"] = sets["ambient"] = ["CAP_KILL"]

    async def attack(bench: Bench) -> int:
        return (await capability_sets(bench, by_exec=by_exec, user="nobody"))["CapEff"]

    assert outcome(attack) == 0
    assert outcome(attack, plan=ambient) == capabilities.mask_of(("CAP_KILL",))


@pytest.mark.threat("no-new-privileges")
@pytest.mark.parametrize("wanted", [True, False])
def test_a_setuid_program_gives_nothing_to_who_may_gain_nothing(wanted: bool) -> None:
    """A setuid program of the image makes its caller root.

    Defence: --security-opt no-new-privileges sets the kernel's flag before the exec; execs too.
    Seen to fail: without the option the program runs as root.
    """
    options = ("no-new-privileges",) if wanted else ()

    async def attack(bench: Bench) -> str:
        # busybox gives such rights up by itself; the host's grep does not.
        shutil.copy("/bin/grep", f"{bench.image}/bin/sgrep")
        os.chmod(f"{bench.image}/bin/sgrep", 0o4755)
        host = HostConfig(security_opt=options)
        mounts = tuple(bind(path, path, rw=False) for path in libraries())
        workload = bench.workload("sleep", "1000", host=host, mounts=mounts)
        await bench.start(workload)
        _, peer = await bench.exec(
            workload, "sgrep", "-E", "^(Uid|NoNewPrivs)", "/proc/self/status", user="nobody"
        )
        assert peer is not None
        return (await peer.frames())[1].decode()

    fields = outcome(attack).split()
    assert fields[fields.index("NoNewPrivs:") + 1] == str(int(wanted))
    effective = fields[fields.index("Uid:") + 2]
    assert effective == ("65534" if wanted else "0")


# --- devices --------------------------------------------------------------------------------------


@pytest.mark.threat("devices")
@pytest.mark.parametrize("host", [HostConfig(), OF_HOST], ids=["mapped", "of-host"])
def test_a_device_node_opens_nothing_that_is_not_on_the_list(host: HostConfig) -> None:
    """A node of the disk, in the image or made by mknod, is the disk.

    Defence: nodev on everything but /dev, mknod for nobody who is not root outside, and the
    cgroup's allow-list of devices (files on v1, BPF on v2), which holds for all.
    Seen to fail: with a list that allows all and a root without nodev the kernel's log is
    opened.
    """

    def weak(config: dict[str, Any]) -> None:
        config["linux"]["resources"]["devices"] = [devices.ALLOW_ALL]
        config["tiffin"]["nodevRoot"] = False

    async def attack(bench: Bench) -> bool:
        os.mknod(f"{bench.image}/kmsg", stat.S_IFCHR | 0o666, os.makedev(1, 11))
        made = "mknod /tmp/kmsg c 1 11 && : > /tmp/kmsg || : > /kmsg"
        code, _ = await bench.run("sh", "-c", made, host=host)
        return code == 0

    assert outcome(attack) is False
    assert outcome(attack, plan=weak) is True


# --- what of the kernel is seen and written -------------------------------------------------------

# Each is there in /proc or /sys, and says something of the host or is a switch of it.
MASKED = ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts")
# Moby's lists, word by word, and written down again: what is missing from ours is a hole.
MOBYS_MASKS = frozenset(
    """
    /proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats
    /proc/sched_debug /proc/scsi /proc/timer_list /proc/timer_stats
    /sys/devices/virtual/powercap /sys/firmware
    """.split()
)
MOBYS_READ_ONLY = frozenset(
    "/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger".split(),
)
SWITCHES = tuple(
    path
    for path in ("/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches")
    if os.path.exists(path)
)


@pytest.mark.threat("masked-paths")
@pytest.mark.parametrize("path", MASKED)
def test_what_tells_of_the_host_is_masked(path: str) -> None:
    """Keys, memory, interrupts (GHSA-6fw5-f8r9-fgfm), power (GHSA-jq35-85cj-fj4p) of the host are
    to be read in files of /proc and /sys.

    Defence: the masks of moby (runtime.paths): the null device over files, an empty read-only
    tmpfs over directories.
    Seen to fail: with the masks taken out of the plan the file is not the null device.
    """
    if not os.path.exists(path):
        return  # nothing to hide in this kernel

    def unmasked(config: dict[str, Any]) -> None:
        config["linux"]["maskedPaths"] = []

    async def attack(bench: Bench) -> str:
        return (await bench.run("stat", "-c", "%F", path))[1].strip()

    assert outcome(attack) == "character special file"
    assert outcome(attack, plan=unmasked).startswith("regular")


@pytest.mark.threat("masked-paths")
@pytest.mark.parametrize("path", ["/sys/firmware", "/sys/devices/virtual/powercap", "/proc/scsi"])
def test_a_directory_that_tells_of_the_host_is_empty(path: str) -> None:
    """As above: tables of the firmware, meters of power, disks.

    Defence: an empty tmpfs over each, which cannot be written.
    Seen to fail: with the masks taken out of the plan the host's entries are there.
    """
    if not (os.path.isdir(path) and os.listdir(path)):
        return  # nothing to hide in this kernel

    def unmasked(config: dict[str, Any]) -> None:
        config["linux"]["maskedPaths"] = []

    async def attack(bench: Bench) -> list[str]:
        script = f"ls -a {path}; touch {path}/new 2>/dev/null && echo written || :"
        return (await bench.shell(script)).split()

    assert outcome(attack) == [".", ".."]
    assert len(outcome(attack, plan=unmasked)) > 2


@pytest.mark.threat("kernel-switches")
@pytest.mark.parametrize("path", SWITCHES)
def test_switches_of_the_host_cannot_be_thrown(path: str) -> None:
    """core_pattern, sysrq, uevent_helper, binfmt_misc: what root writes there, the host obeys.

    Defence: read-only mounts over /proc/sys, sysrq-trigger and the others of moby's list, and
    nobody may write there who is not root outside.
    Seen to fail: with the host's ids and without the read-only paths the file opens for writing.
    """

    def writable(config: dict[str, Any]) -> None:
        config["linux"]["readonlyPaths"] = []

    async def attack(bench: Bench, host: HostConfig = OF_HOST) -> bool:
        code, _ = await bench.run("sh", "-c", f": >> {path}", host=host)
        return code == 0

    assert outcome(attack) is False
    assert outcome(lambda bench: attack(bench, HostConfig()), plan=writable) is False
    assert outcome(attack, plan=writable) is True


@pytest.mark.threat("kernel-switches")
def test_sysfs_is_read_only() -> None:
    """/sys/kernel/uevent_helper, and thousands of others, are the host's.

    Defence: sysfs is mounted read-only, and cannot be remounted without CAP_SYS_ADMIN.
    Seen to fail: with `ro` taken out of the plan and the host's ids a file opens for writing.
    """
    path = "/sys/kernel/profiling"
    if not os.path.exists(path):
        path = "/sys/kernel/mm/transparent_hugepage/enabled"

    def writable(config: dict[str, Any]) -> None:
        for mount in config["mounts"]:
            if mount["destination"] == "/sys":
                mount["options"].remove("ro")

    async def attack(bench: Bench) -> bool:
        code, _ = await bench.run("sh", "-c", f": >> {path}", host=OF_HOST)
        return code == 0

    assert outcome(attack) is False
    assert outcome(attack, plan=writable) is True


@pytest.mark.threat("cgroup-escape")
def test_cgroups_can_be_seen_and_not_written() -> None:
    """release_agent of a cgroup v1 is a program that the host runs (CVE-2022-0492); on v2 limits
    are lifted by who may write them.

    Defence: cgroup mounts are read-only, the cgroup namespace shows nothing above, and a new
    mount needs CAP_SYS_ADMIN, or a user namespace, which the seccomp filter refuses.
    Seen to fail: with `ro` taken out of the plan and the host's ids a cgroup is made.
    """

    def writable(config: dict[str, Any]) -> None:
        for mount in config["mounts"]:
            if mount["type"] == "cgroup":
                mount["options"].remove("ro")

    script = "cd /sys/fs/cgroup; [ -d pids ] && cd pids; mkdir below && rmdir below"

    async def attack(bench: Bench) -> bool:
        code, _ = await bench.run("sh", "-c", script, host=OF_HOST)
        return code == 0

    assert outcome(attack) is False
    assert outcome(attack, plan=writable) is True


@pytest.mark.threat("cgroup-escape")
@pytest.mark.parametrize("by_exec", [False, True])
def test_a_container_sees_no_cgroup_but_its_own(by_exec: bool) -> None:
    """The path of its cgroup tells a container of its host and its siblings.

    Defence: a cgroup namespace of its own, made once it is in its cgroup.
    Seen to fail: without one in the plan the path names the container.
    """

    def shared(config: dict[str, Any]) -> None:
        kept = [n for n in config["linux"]["namespaces"] if n["type"] != "cgroup"]
        config["linux"]["namespaces"] = kept

    async def attack(bench: Bench) -> bool:
        if not by_exec:
            return bench.name in await bench.shell("cat /proc/self/cgroup", host=OF_HOST)
        box = bench.workload("sleep", "1000", host=OF_HOST)
        await bench.start(box)
        _, peer = await bench.exec(box, "cat", "/proc/self/cgroup")
        assert peer is not None
        return bench.name in (await peer.frames())[1].decode()

    assert outcome(attack) is False
    assert outcome(attack, plan=shared) is True


def test_the_hosts_cgroup_namespace_is_seen_and_not_written() -> None:
    """--cgroupns=host: from a user namespace the hierarchy cannot be mounted, only shown."""
    own = "pids" if HOST.version == 1 else ""
    script = f"cd /sys/fs/cgroup/{own}; ls; mkdir below 2>/dev/null || echo refused"

    async def attack(bench: Bench) -> list[str]:
        seen = await bench.shell(script, host=HostConfig(cgroupns_mode="host"))
        return [word for word in seen.split() if word in (bench.name, "refused")]

    shown = outcome(attack)
    assert len(shown) == 2
    assert shown[-1] == "refused"


# --- sysctls --------------------------------------------------------------------------------------


@pytest.mark.threat("sysctls")
@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("kernel.core_pattern", {}),
        ("vm.overcommit_memory", {}),
        ("fs.file-max", {}),
        ("kernel/../kernel/core_pattern", {}),
        ("net.ipv4.ip_forward", {"network_mode": "host"}),
        ("kernel.shmmax", {"ipc_mode": "host"}),
        ("kernel.domainname", {"uts_mode": "host"}),
    ],
)
def test_only_sysctls_of_the_containers_own_namespaces_are_set(
    name: str, fields: dict[str, str]
) -> None:
    """--sysctl with a name that is not in a namespace is a setting of the host.

    Defence: an allow-list by namespace (runtime.checks), asked for each namespace that the
    container has of its own.
    Seen to fail: the same name in a container with the namespace passes, below.
    """
    config = ContainerConfig(cmd=("true",))
    with pytest.raises(InvalidArgument, match="sysctl"):
        validate(config, HostConfig(sysctls={name: "1"}, **fields), HostFacts())  # type: ignore[arg-type]
    if fields:
        validate(config, HostConfig(sysctls={name: "1"}), HostFacts())


# --- ids ------------------------------------------------------------------------------------------


@pytest.mark.threat("root-is-nobody")
def test_root_in_a_container_is_nobody_outside() -> None:
    """Whoever gets out of a container whose root is root is root.

    Defence: a user namespace with a range of ids of its own for each container; files keep their
    owners by idmapped mounts.
    Seen to fail: with --userns=host the process is root outside.
    """

    async def attack(bench: Bench, host: HostConfig) -> int:
        workload = bench.workload("sleep", "1000", host=host)
        created = await bench.start(workload)
        return os.stat(f"/proc/{created.pid}").st_uid

    assert outcome(lambda bench: attack(bench, HostConfig())) >= 0x80000
    assert outcome(lambda bench: attack(bench, OF_HOST)) == 0


def test_the_plan_says_all_this_as_data() -> None:
    """Nothing of the above is added later: a plan can be printed and read."""

    async def attack(bench: Bench) -> str:
        runtime = bench.runtime
        config = await planning.config_of(
            bench.workload("true"), runtime.facts, runtime.programs, runtime.survivors.layout
        )
        return json.dumps(config["linux"])

    planned = json.loads(outcome(attack))
    assert set(planned["maskedPaths"]) >= MOBYS_MASKS
    assert set(planned["readonlyPaths"]) == MOBYS_READ_ONLY
    assert planned["uidMappings"][0]["size"] == 65536
