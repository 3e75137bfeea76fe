"""`python -m tiffin`, and what the launcher runs: `python -I -S tiffin/__main__.py`.

Without `site` there is no path to our own package yet; it is the directory above this file.
"""

import posix
import sys

_HERE = __file__ if __file__.startswith("/") else f"{posix.getcwd()}/{__file__}"
_ROOT = _HERE.rpartition("/")[0].rpartition("/")[0]
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)


def _daemon() -> int:
    from tiffin.daemon import main  # noqa: PLC0415

    code = main(sys.argv[2:])
    sys.stdout.flush()
    sys.stderr.flush()
    return code or 0


def _main() -> int:
    if sys.argv[1:2] == ["daemon"] and not sys.flags.no_site:
        return _daemon()
    from tiffin.cli.main import main  # noqa: PLC0415

    return main(sys.argv[1:])


if __name__ == "__main__":
    # Everything was written as it was said, so the interpreter need not tidy up after itself.
    posix._exit(_main())  # noqa: SLF001
