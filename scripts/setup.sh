# Sourced by the scripts that must work on a machine with nothing installed. Run from the root of
# the checkout. Offers: need_packages, build_tree, python_env.

BUILD=${BUILD:-build}
VENV=${VENV:-.venv}
PACKAGES="gcc make autoconf automake libtool pkg-config libtcc-dev libpapi-dev libsqlite3-dev
libyaml-dev check libprotobuf-c-dev protobuf-c-compiler libonnx-dev uthash-dev libcjson-dev
libxxhash-dev python3 python3-venv toulbar2"

say() { printf '\n== %s\n' "$*" >&2; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# need_packages NAME ...: install the Debian packages of the list that are missing.
need_packages() {
  missing=
  for p in "$@"; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
  done
  [ -n "$missing" ] || return 0
  say "installing:$missing"
  as_root apt-get update -qq
  # shellcheck disable=SC2086  # a list of names
  DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq --no-install-recommends $missing \
    >/dev/null
}

# build_tree [CONFIGURE-OPTION ...]: configure and build in $BUILD.
build_tree() {
  need_packages $PACKAGES
  [ -x configure ] || { say "bootstrap"; scripts/bootstrap >/dev/null 2>&1; }
  mkdir -p "$BUILD"
  if [ ! -f "$BUILD/Makefile" ]; then
    say "configure"
    (cd "$BUILD" && ../configure -q "$@")
  fi
  say "build"
  make -s -C "$BUILD" -j"$(nproc)"
}

# python_env NAME ...: a private virtual environment with these PyPI packages, whose modules have
# the packages' names.
python_env() {
  [ -x "$VENV/bin/python" ] || python3 -m venv "$VENV"
  "$VENV/bin/python" -c "$(printf 'import %s\n' "$@")" 2>/dev/null ||
    "$VENV/bin/python" -m pip install -q --disable-pip-version-check "$@"
}
