"""What the launcher runs: `python -I -S tiffin/runtime/oci/__main__.py`."""

import posix
import sys

_HERE = __file__ if __file__.startswith("/") else f"{posix.getcwd()}/{__file__}"
_ROOT = _HERE.rsplit("/", 4)[0]
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

from tiffin.runtime.oci.main import main  # noqa: E402

if __name__ == "__main__":
    # Everything was written as it was said, so the interpreter need not tidy up after itself.
    posix._exit(main(sys.argv[1:]))  # noqa: SLF001
