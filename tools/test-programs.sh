#!/bin/sh
# Installs the programs that the tests need and no Python package has: a browser, and promtool.
set -eu
missing=
command -v chromium > /dev/null || command -v google-chrome > /dev/null || missing="$missing chromium"
command -v promtool > /dev/null || missing="$missing prometheus"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
  apt-get update -qq
  # shellcheck disable=SC2086 - one word per package
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing > /dev/null
else
  echo "make test also needs:$missing. On Debian or Ubuntu: sudo apt-get install$missing" >&2
  echo "On macOS: brew install prometheus, and Google Chrome or Chromium on the PATH" >&2
  exit 1
fi
