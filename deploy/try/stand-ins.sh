#!/bin/bash
# Base images for a machine that reaches no image registry, under the names that the deployment asks for: Python from
# the one that runs this product's tests, the others from Debian 13 and PyPI (stand-ins/Dockerfile).
#   stand-ins.sh FOLDER PYTHON
# To be called where the engine sees it. FOLDER is where roots are made; PYTHON is a Python of the version that the Dockerfile names.
set -euo pipefail
folder=$(realpath -m "${1:?a folder}") python=${2:?the path of a Python}
here=$(cd "$(dirname "$0")" && pwd) product=$(cd "$(dirname "$0")/../.." && pwd)
python_image=$(sed -n 's/^ARG PYTHON_IMAGE=//p' "$product/deploy/docker/Dockerfile")
version=$(sed -E 's/^python:([0-9]+\.[0-9]+)-.*/\1/' <<< "$python_image")
root=$folder/python
packages=ca-certificates,libbz2-1.0,libexpat1,libffi8,liblzma5,libncursesw6,libreadline8t64,libsqlite3-0,libssl3t64
packages=$packages,libuuid1,netbase,tzdata,zlib1g

there() { docker image inspect "$1" > /dev/null 2>&1; }

make_python_root() {
  [ -e "$root" ] && return
  prefix=$("$python" -c 'import sys; print(sys.base_prefix)')
  "$python" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$version' and 'Python $version is needed')"
  rm -rf "$root.new"
  mmdebstrap --quiet --variant=minbase --include="$packages" trixie "$root.new"
  tar -C "$prefix" --exclude=site-packages --exclude=__pycache__ --exclude='lib/python*/test' -c \
    bin "lib/python$version" include $(cd "$prefix" && ls -d lib/libpython* 2> /dev/null) |
    tar -C "$root.new/usr/local" -x --no-same-owner
  rm -f "$root.new"/usr/local/bin/{pip,idle,pydoc,2to3}*
  ln -sf "python$version" "$root.new/usr/local/bin/python"
  mkdir -p "$root.new/usr/local/lib/python$version/site-packages"
  chroot "$root.new" sh -c "ldconfig && python -m ensurepip --default-pip > /dev/null 2>&1"
  # Where a mirror has a certificate of its own, builds must trust it as this machine does.
  cp /etc/ssl/certs/ca-certificates.crt "$root.new/etc/ssl/certs/ca-certificates.crt"
  rm -rf "$root.new"/var/cache/apt/archives/*.deb "$root.new"/var/lib/apt/lists/*
  mv "$root.new" "$root"
}

import_python() {
  certificates=/etc/ssl/certs/ca-certificates.crt
  tar -C "$root" --numeric-owner -c . | docker import \
    --change "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8" \
    --change "ENV SSL_CERT_FILE=$certificates PIP_CERT=$certificates PIP_ROOT_USER_ACTION=ignore" \
    --change 'CMD ["python3"]' - "$python_image" > /dev/null
}

image_of() { sed -n "s|^    image: \($1:.*\)|\1|p" "$product/docker-compose.yml"; }

cd "$here"
there "$python_image" || { make_python_root && import_python; }
for name in valkey/valkey versity/versitygw prom/prometheus; do
  image=$(image_of "$name")
  there "$image" || docker build --quiet --network host --build-arg "PYTHON_IMAGE=$python_image" \
    --target "${name#*/}" --tag "$image" stand-ins > /dev/null
done
