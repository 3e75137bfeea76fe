"""`python -m tiffin`, and what the launcher runs: `python -I -S tiffin/__main__.py`.

Without `site` there is no path to our own package yet; it is the directory above this file.
"""

import posix
import sys

_ROOT = __file__.rpartition("/")[0].rpartition("/")[0]
if _ROOT and _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

if __name__ == "__main__":
    from tiffin.cli.main import main

    # Everything was written as it was said, so the interpreter need not tidy up after itself.
    posix._exit(main(sys.argv[1:]))
