# What the tests of the commands share: bin (the build directory, where make check runs them), src,
# an empty working directory that goes away, the count of failures.
set -u
bin=$(pwd)
src=$(cd "${srcdir:-.}" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
failed=0
