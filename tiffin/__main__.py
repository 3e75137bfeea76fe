"""`python -m tiffin`, and what the launcher runs without `site`, which knows no path to us yet."""

import posix
import sys

_ROOT = __file__.rpartition("/")[0].rpartition("/")[0]
if sys.flags.no_site:
    sys.path.append(_ROOT)  # what we load most is not there, but in the standard library
else:
    sys.path.insert(0, _ROOT)  # before another tiffin that may be installed


def _load_asyncio() -> None:
    """Without TLS: nobody has asyncio do it, and to load it takes a megabyte and milliseconds."""
    sys.modules["ssl"] = None  # type: ignore[assignment] # how an import is refused
    import asyncio  # noqa: F401, PLC0415

    del sys.modules["ssl"]  # for who talks to registries


def _main() -> int:
    if sys.argv[1:2] == ["daemon"] and not sys.flags.no_site:
        _load_asyncio()
        from tiffin.daemon import main as serve  # noqa: PLC0415

        code = serve(sys.argv[2:])
        sys.stdout.flush()
        sys.stderr.flush()
        return code or 0
    from tiffin.cli.main import main  # noqa: PLC0415

    return main(sys.argv[1:])


if __name__ == "__main__":
    # Everything was written as it was said, so the interpreter need not tidy up after itself.
    posix._exit(_main())  # noqa: SLF001
