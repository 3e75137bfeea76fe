"""Records what Docker's own CLI asks and says, as golden files: `python -m tests.cli.record`.

Needs the `docker` program (28.x) and no daemon. The files say which version they come from.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from typing import Any

from tests.cli.cases import WORDS, command_lines, words_of
from tests.cli.fake_daemon import Answer, FakeDaemon, Request
from tests.cli.recording import beyond, requests_of, summary
from tests.cli.sessions import SESSIONS, run_session
from tests.cli.templates import DOCUMENTS, shown, templates

HERE = os.path.dirname(__file__)
REQUESTS = os.path.join(HERE, "golden_requests.json")
SAID = os.path.join(HERE, "golden_words.json")
SHOWN = os.path.join(HERE, "golden_sessions.json")
RENDERED = os.path.join(HERE, "golden_templates.json")
PLAIN = "create busybox"
CREATE = "POST /containers/create"


def requests_for(program: list[str], line: str) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="tfn") as directory:
        found = [summary(each, directory) for each in requests_of(program, line, directory)]
    return sorted(found, key=lambda each: each["request"])


def record_requests(version: str) -> dict[str, Any]:
    (plain,) = (each["body"] for each in requests_for(["docker"], PLAIN))
    lines = {}
    for line in command_lines():
        found = requests_for(["docker"], line)
        for each in found:
            if each["request"] == CREATE:
                each["body"] = beyond(each["body"], plain)
        lines[line] = found
    return {"recorded_from": version, "plain": plain, "lines": lines}


def record_words(version: str) -> dict[str, Any]:
    lines = {}
    for line in WORDS:
        with tempfile.TemporaryDirectory(prefix="tfn") as directory, FakeDaemon() as daemon:
            done = subprocess.run(
                ["docker", "-H", daemon.host, *words_of(line, directory)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                cwd=directory,
                env={"PATH": os.environ["PATH"], "HOME": directory, "DOCKER_BUILDKIT": "0"},
                check=False,
            )
        stderr = done.stderr
        if stderr.startswith("DEPRECATED"):
            stderr = stderr.partition("\n\n")[2]
        stderr = stderr.replace(directory, "{tmp}").replace("\nSRun ", "\nRun ")  # their slip
        lines[line] = {"code": done.returncode, "stdout": done.stdout, "stderr": stderr}
    return {"recorded_from": version, "lines": lines}


def record_sessions(version: str) -> dict[str, Any]:
    found: dict[str, Any] = {"recorded_from": version}
    for name in SESSIONS:
        with tempfile.TemporaryDirectory(prefix="tfn") as directory:
            found[name] = run_session(["docker"], name, directory)
    return found


def record_templates(version: str) -> dict[str, Any]:
    lines = {}
    with tempfile.TemporaryDirectory(prefix="tfn") as home, FakeDaemon() as daemon:
        otherwise = daemon.answer

        def answer(request: Request) -> Answer:
            path = request.path.removesuffix("/json")
            kind = path.removesuffix("/one").strip("/").removesuffix("s")
            return Answer(document=DOCUMENTS[kind]) if kind in DOCUMENTS else otherwise(request)

        daemon.answer = answer  # type: ignore[method-assign]
        for kind, template in templates():
            done = subprocess.run(
                ["docker", "-H", daemon.host, kind, "inspect", "-f", template, "one"],
                capture_output=True,
                text=True,
                env={"PATH": os.environ["PATH"], "HOME": home},
                check=False,
            )
            lines[f"{kind} {template}"] = {
                "code": done.returncode,
                "stdout": shown(done.stdout),
                "stderr": shown(done.stderr),
            }
    return {"recorded_from": version, "lines": lines}


def main() -> None:
    version = subprocess.run(
        ["docker", "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    for path, document in (
        (REQUESTS, record_requests(version)),
        (SAID, record_words(version)),
        (SHOWN, record_sessions(version)),
        (RENDERED, record_templates(version)),
    ):
        with open(path, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1, ensure_ascii=False)
            file.write("\n")


if __name__ == "__main__":
    main()
