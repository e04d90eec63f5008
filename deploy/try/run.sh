#!/bin/bash
# Deploy this tree on this machine and test it: `make deploy-test`. With an engine at hand (`docker info` works) it is
# used, without one engine.sh brings one; without an image registry, stand-ins.sh makes the base images.
#   run.sh PYTHON [PYTEST-ARGUMENTS...]
# TRY_FOLDER (/tmp/deploy-try): where everything lies. TRY_KEEP=1 leaves engine and images there for the next run.
# TRY_CUDA=1 also builds the CUDA worker's image, 7 GB.
set -euo pipefail
python=$(realpath -s "${1:?the path of a Python with the extra dev}")
shift
here=$(cd "$(dirname "$0")" && pwd) product=$(cd "$(dirname "$0")/../.." && pwd)
export TRY_FOLDER=${TRY_FOLDER:-/tmp/deploy-try}
mkdir -p "$TRY_FOLDER/product"

brought=
if ! docker info > /dev/null 2>&1; then
  brought=1
  "$here/engine.sh" up "$TRY_FOLDER"
  export PATH=$TRY_FOLDER/bin:$PATH
fi
end() {
  status=$?
  [ -n "${TRY_KEEP:-}" ] && exit $status
  [ -n "$brought" ] && "$here/engine.sh" down "$TRY_FOLDER"
  rm -rf "$TRY_FOLDER"
  exit $status
}
trap end EXIT

# A copy, since an engine that was brought sees only its own folder.
rm -rf "$TRY_FOLDER/product"
mkdir "$TRY_FOLDER/product"
git -C "$product" ls-files -z --cached --others --exclude-standard | (cd "$product" && xargs -0 ls -d 2> /dev/null) |
  tar -C "$product" -c -T - | tar -C "$TRY_FOLDER/product" -x --no-same-owner
cd "$TRY_FOLDER/product"

# Names that no registry answers for in a minute are made here.
if [ -n "$brought" ] && ! timeout 60 docker pull --quiet hello-world > /dev/null 2>&1; then
  deploy/try/stand-ins.sh "$TRY_FOLDER" "$python"
fi

cd "$product"
"$python" -m pytest tests/deploy -o timeout=1500 "$@"
