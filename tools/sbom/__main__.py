"""Write the bill of materials of an environment: python -m tools.sbom CYCLONEDX-PY PYTHON FOLDER."""

import importlib.metadata
import json
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

from packaging.utils import canonicalize_name

from tools.sbom.bill import DEVELOPMENT, closure, dropped, licences, only, wanted

PYPROJECT = Path("pyproject.toml")
OVERRIDES = Path("tools/lock-overrides.txt")


def main(program: str, python: str, folder: Path) -> None:
    """Write FOLDER/trace-ocr.cdx.json and licences.tsv, and print how many packages have which licence."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [program, "environment", "--pyproject", str(PYPROJECT), "--output-reproducible", python]
    listed = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    bill = only(json.loads(listed.stdout), names_of_the_product(python))
    (folder / "trace-ocr.cdx.json").write_text(json.dumps(bill, indent=1, sort_keys=True) + "\n")
    found = sorted(licences(bill), key=lambda one: one[0].lower())
    (folder / "licences.tsv").write_text("".join("\t".join(one) + "\n" for one in found))
    for licence, count in Counter(licence for *_, licence in found).most_common():
        print(f"{count:4} {licence}")
    print(f"{len(found):4} packages: {folder}/trace-ocr.cdx.json, {folder}/licences.tsv")


def names_of_the_product(python: str) -> frozenset[str]:
    """Return the packages of an environment that are not for development only."""
    asked = [python, "-c", "import json, sys; print(json.dumps(sys.path))"]
    path = json.loads(subprocess.check_output(asked))
    requires = {
        canonicalize_name(one.name): one.requires or () for one in importlib.metadata.distributions(path=path)
    }
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    extras = project["optional-dependencies"].keys() - DEVELOPMENT
    return closure(wanted(project, extras), requires, dropped(OVERRIDES.read_text()))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
