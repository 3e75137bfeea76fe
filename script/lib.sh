# Shared by the scripts here; sourced in the checkout's root.

# Debian packages that are missing are installed, without starting any service of theirs.
need_packages() {
    missing=
    for package in "$@"; do
        dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    echo "Installing:$missing" >&2
    policy=/usr/sbin/policy-rc.d
    ours=
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' > "$policy"
        chmod +x "$policy"
        ours=yes
    fi
    installed=yes
    apt-get update -qq || installed=
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2 || installed=
    [ -z "$ours" ] || rm -f "$policy"
    [ -n "$installed" ] || { echo "Could not install:$missing" >&2; return 1; }
}

# .venv of this checkout with tiffin in it. $1: an extra ("test") or nothing.
make_venv() {
    extra=${1:-}
    python=$(find_python)
    if ! "$python" -c 'import venv, ensurepip' 2>/dev/null && command -v apt-get >/dev/null; then
        need_packages python3-venv
    fi
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    .venv/bin/pip install -q --disable-pip-version-check ".${extra:+[$extra]}" 2>&1 |
        grep -v '^WARNING: Location' >&2 || true
    .venv/bin/python -I -c 'import tiffin, httptools, msgspec' || { echo "tiffin could not be installed" >&2; exit 1; }
}

# The first interpreter that is new enough: PYTHON if it is set.
find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 /usr/bin/python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return 0
        fi
    done
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        need_packages python3 python3-venv
        echo /usr/bin/python3
        return 0
    fi
    echo "Python 3.11 or newer is needed" >&2
    exit 1
}
