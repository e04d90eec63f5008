#!/bin/sh
# Installs the programs that the tests need and no Python package has: a browser, promtool, and Azurite.
set -eu
azurite=azurite@3.37.0
missing=
command -v chromium > /dev/null || command -v google-chrome > /dev/null || missing="$missing chromium"
command -v promtool > /dev/null || missing="$missing prometheus"
command -v azurite-blob > /dev/null || command -v npm > /dev/null || missing="$missing nodejs npm"
if [ -z "$missing" ]; then
  :
elif [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
  apt-get update -qq
  # shellcheck disable=SC2086 - one word per package
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing > /dev/null
else
  echo "make test also needs:$missing. On Debian or Ubuntu: sudo apt-get install$missing" >&2
  echo "On macOS: brew install prometheus node, and Google Chrome or Chromium on the PATH" >&2
  exit 1
fi
command -v azurite-blob > /dev/null && exit 0
# Microsoft's emulator of Azure Blob Storage; what it would install of native code is not needed.
if ! npm install --global --ignore-scripts --no-audit --no-fund --loglevel=error "$azurite" > /dev/null; then
  echo "make test also needs $azurite: sudo npm install --global --ignore-scripts $azurite" >&2
  exit 1
fi
