#!/bin/sh
# Installs the programs that the tests need and no Python package has: a browser, promtool, Azurite and axe-core.
set -eu
azurite=azurite@3.37.0
axe=axe-core@4.14.1
missing=
command -v chromium > /dev/null || command -v google-chrome > /dev/null || missing="$missing chromium"
command -v promtool > /dev/null || missing="$missing prometheus"
command -v npm > /dev/null || missing="$missing nodejs npm"
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
# Microsoft's emulator of Azure Blob Storage, and the checks of accessibility; what Azurite would install of native
# code is not needed.
wanted=
command -v azurite-blob > /dev/null || wanted="$wanted $azurite"
[ -f "$(npm root --global)/axe-core/axe.min.js" ] || wanted="$wanted $axe"
[ -z "$wanted" ] && exit 0
# shellcheck disable=SC2086 - one word per package
if ! npm install --global --ignore-scripts --no-audit --no-fund --loglevel=error $wanted > /dev/null; then
  echo "make test also needs:$wanted. Install them: sudo npm install --global --ignore-scripts$wanted" >&2
  exit 1
fi
