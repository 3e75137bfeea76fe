"""What Docker's CLI has and this one has not, each with the reason: for the docs and its users."""

from __future__ import annotations

# command, or command and flag
ABSENT = {
    **{
        f"{verb} --{flag}": "it is for Windows containers"
        for verb in ("create", "run")
        for flag in ("cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops")
    },
    "images --tree": "it shows a multi-platform image store",
    "image ls --tree": "it shows a multi-platform image store",
    "create --use-api-socket": "it gives a container the whole machine; mount the socket with -v",
    "start --checkpoint": "there is no checkpointing",
    "start --checkpoint-dir": "there is no checkpointing",
    "run --use-api-socket": "it gives a container the whole machine; mount the socket with -v",
    "volume create --availability": "there are no cluster volumes",
    "volume create --group": "there are no cluster volumes",
    "volume create --limit-bytes": "there are no cluster volumes",
    "volume create --required-bytes": "there are no cluster volumes",
    "volume create --scope": "there are no cluster volumes",
    "volume create --sharing": "there are no cluster volumes",
    "volume create --topology-preferred": "there are no cluster volumes",
    "volume create --topology-required": "there are no cluster volumes",
    "volume create --type": "there are no cluster volumes",
    "volume create --secret": "there are no cluster volumes",
    "volume ls --cluster": "there are no cluster volumes",
    "volume update": "there are no cluster volumes",
    "checkpoint": "there is no checkpointing",
    "manifest": "there is no manifest list editor",
    "plugin": "there are no plugins",
    "trust": "there is no content trust",
    "config": "there is no swarm mode",
    "node": "there is no swarm mode",
    "secret": "there is no swarm mode",
    "service": "there is no swarm mode",
    "stack": "there is no swarm mode",
    "swarm": "there is no swarm mode",
}

# Programs that the docker CLI finds beside itself.
ELSEWHERE = {
    "buildx": "it is a program of its own, and `tiffin build` needs none",
    "compose": (
        "it is a program of its own: DOCKER_HOST=unix:///run/tiffin/tiffin.sock docker compose "
        "works with this daemon"
    ),
}


def reason(name: str, flag: str = "") -> str:
    """Why `name`, or `flag` of it, is not here; "" where Docker has none either."""
    plain = name.removeprefix("container ")
    return ABSENT.get(f"{plain} {flag}".strip(), "") or ELSEWHERE.get(name, "")
