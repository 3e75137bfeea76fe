"""What the launcher runs: `python -I -S tiffin/runtime/oci/__main__.py`."""

import posix
import sys

_HERE = __file__ if __file__.startswith("/") else f"{posix.getcwd()}/{__file__}"
_ROOT = _HERE.rsplit("/", 4)[0]
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

_BEGETS = frozenset(("create", "run", "exec"))
_READ_ONLY = 1  # ST_RDONLY


def _become_sealed() -> None:
    """Start anew behind a mount that cannot be written, before there is a container.

    Its first process is this program, whose file it could get hold of (runtime.interpreter).
    """
    try:
        if posix.statvfs("/proc/self/exe").f_flag & _READ_ONLY:
            return
        from tiffin.runtime import interpreter  # noqa: PLC0415 (other commands need none of it)

        program = interpreter.opened("/proc/self/exe")
    except OSError:
        return  # without rights on mounts there are none on the host's files either
    arguments = [sys.executable, "-I", "-S", __file__, *sys.argv[1:]]
    posix.execve(f"/proc/self/fd/{program}", arguments, posix.environ)


if __name__ == "__main__" and _BEGETS.intersection(sys.argv[1:]):
    _become_sealed()

from tiffin.runtime.oci.main import main  # noqa: E402

if __name__ == "__main__":
    # Everything was written as it was said, so the interpreter need not tidy up after itself.
    posix._exit(main(sys.argv[1:]))  # noqa: SLF001
