"""The deployment's files as data: compose, Kubernetes, systemd, the Dockerfile, and the commands in them."""

import functools
import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from unittest import mock

import click
import kubernetes_validate
import yaml
from kubernetes_validate import utils
from packaging.version import Version

from producer.cli.main import cli

REPOSITORY = Path(__file__).resolve().parents[3]
DEPLOY = REPOSITORY / "deploy"
DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
SYSTEMD = DEPLOY / "systemd"
KUBERNETES = DEPLOY / "kubernetes"
BASE = KUBERNETES / "base"

Document = dict[str, Any]

SECRETS = {
    "REDIS_PASSWORD": "0a1b",
    "S3_ACCESS_KEY": "key",
    "S3_SECRET_KEY": "secret",
    "TRACE_OCR_API_KEYS": f"me:read:{'0' * 64}",
    "TRACE_OCR_FLOWER_BASIC_AUTH": "me:word",
    "GRAFANA_PASSWORD": "word",
}
"""A filled-in .env."""

_VARIABLE = re.compile(r"\$(\$|\{(\w+)(?:(:?[-?+])((?:[^{}]|\{[^{}]*\})*))?\})")


def project() -> Document:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def interpolated(text: str, environment: Mapping[str, str]) -> str:
    """Return a value of compose with its variables replaced.

    Raises:
        KeyError: a variable that is asked for with `?` is missing, or one without a default
    """

    def value_of(match: re.Match[str]) -> str:
        _, name, operator, argument = match.groups()
        if name is None:
            return "$"
        value, argument = environment.get(name, ""), argument or ""
        there = bool(value) if operator and operator.startswith(":") else name in environment
        if operator and operator.endswith("+"):
            return interpolated(argument, environment) if there else ""
        if there:
            return value
        if not operator or operator.endswith("?"):
            raise KeyError(name)
        return interpolated(argument, environment)

    return _VARIABLE.sub(value_of, text)


def raw_compose() -> Document:
    document: Document = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    return document


def compose(environment: Mapping[str, str]) -> Document:
    """Return docker-compose.yml as compose would read it in an environment."""

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: filled(one) for name, one in value.items()}
        if isinstance(value, list):
            return [filled(one) for one in value]
        return interpolated(value, environment) if isinstance(value, str) else value

    document: Document = filled(raw_compose())
    return document


@functools.cache
def manifests() -> tuple[Document, ...]:
    """Return every Kubernetes manifest."""
    paths = sorted(KUBERNETES.rglob("*.yaml"))
    return tuple(
        document
        for path in paths
        if path.name != "kustomization.yaml"
        for document in yaml.safe_load_all(path.read_text())
    )


def of_kind(*kinds: str) -> dict[str, Document]:
    """Return the manifests of some kinds by name."""
    found = [document for document in manifests() if document["kind"] in kinds]
    return {document["metadata"]["name"]: document for document in found}


def pods() -> dict[str, Document]:
    """Return every pod's template by its workload's name."""
    workloads = of_kind("Deployment", "StatefulSet", "CronJob")
    return {
        name: (document["spec"]["jobTemplate"] if document["kind"] == "CronJob" else document)["spec"][
            "template"
        ]
        for name, document in workloads.items()
    }


def newest_versions(count: int) -> tuple[str, ...]:
    """Return the newest versions of Kubernetes that there are schemas of, oldest first."""
    return tuple(sorted(set(utils.all_versions()), key=Version)[-count:])


NEWEST_VERSIONS = newest_versions(3)
"""Those that Kubernetes itself still supports."""

OF_CRDS = {"ScaledObject"}
"""Kinds that Kubernetes itself does not know."""

_schema_contents = functools.cache(utils.schema_contents)


def validate(documents: Iterable[Document], version: str) -> None:
    """Compare documents with the schemas of a version of Kubernetes.

    Raises:
        kubernetes_validate.ValidationError: a field is missing, of the wrong type, or does not exist
    """
    # One file of a megabyte defines all kinds; the library would read it again for each document.
    with mock.patch.object(utils, "schema_contents", _schema_contents):
        for document in documents:
            if document["kind"] not in OF_CRDS:
                kubernetes_validate.validate(document, version, strict=True)


def container_of(pod: Document) -> Document:
    (container,) = pod["spec"]["containers"]
    found: Document = container
    return found


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions with their arguments, continued lines joined."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [
        (word, rest.strip()) for word, _, rest in (line.partition(" ") for line in whole.splitlines() if line)
    ]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Return each stage's instructions, those of the stages that it builds on first."""
    found: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    for word, rest in instructions():
        if word == "FROM":
            origin, _, name = rest.partition(" AS ")
            current = found[name] = list(found.get(origin, []))
        else:
            current.append((word, rest))
    return found


def last(stage: str, instruction: str) -> str:
    """Return the arguments that an instruction ends with in a stage."""
    return [rest for word, rest in stages()[stage] if word == instruction][-1]


def is_ignored(path: str) -> bool:
    """Return whether .dockerignore keeps a path from the build."""
    ignored = False
    for line in (REPOSITORY / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.lstrip("!").removeprefix("**/")
        parts = path.split("/")
        above = ["/".join(parts[: length + 1]) for length in range(len(parts))]
        names = parts if line.lstrip("!").startswith("**/") else above
        if any(fnmatch(name, pattern) for name in names):
            ignored = not line.startswith("!")
    return ignored


def units() -> dict[str, list[tuple[str, str]]]:
    """Return each systemd unit's settings in order."""
    return {
        path.name: [
            (name, value)
            for name, separator, value in (line.partition("=") for line in path.read_text().splitlines())
            if separator and not name.startswith("#")
        ]
        for path in sorted(SYSTEMD.glob("*.service"))
    }


def commands_in_script(script: str) -> Iterator[list[str]]:
    """Yield the words after each `trace-ocr` of a shell script."""
    for line in re.split(r"\n|\|\||&&|[|;]", script):
        if "trace-ocr " in line.partition("#")[0]:
            words = shlex.split(line, comments=True)
            yield words[words.index("trace-ocr") + 1 :]


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield (where, words after `trace-ocr`) of every command line of the deployment."""
    for name, service in raw_compose()["services"].items():
        if service["image"].startswith("trace-ocr-") and "entrypoint" not in service:
            yield f"compose {name}", service["command"]
    for stage in ("producer", "worker-cpu", "worker-cuda"):
        yield f"Dockerfile {stage}", yaml.safe_load(last(stage, "CMD"))
    for name, pod in pods().items():
        container = container_of(pod)
        if "command" not in container:
            yield f"Kubernetes {name}", container["args"]
        else:
            for words in commands_in_script(container["args"][0]):
                yield f"Kubernetes {name}", words
    for name, settings in units().items():
        program, *words = shlex.split(dict(settings)["ExecStart"])
        assert program == "/opt/trace-ocr/bin/trace-ocr"
        yield f"systemd {name}", words
    readme = re.sub(r"\s{2,}#.*|\\\n", "", (DEPLOY / "README.md").read_text())
    for words in re.findall(r"^docker compose run --rm cli (.+)$", readme, re.MULTILINE):
        yield "README", shlex.split(words)


def parse(words: Sequence[str]) -> str:
    """Parse a command line as the program does, and return the command's name.

    Raises:
        click.UsageError: no such command or flag, or one with a wrong value
    """
    name = words[0]
    if name in {option for parameter in cli.params for option in parameter.opts}:
        return name
    command = cli.get_command(click.Context(cli), name)
    if command is None:
        raise click.UsageError(f"no command {name}")
    command.make_context(name, list(words[1:]))
    return name


def texts() -> Iterator[tuple[Path, str]]:
    """Yield every file of the deployment that people read."""
    for path in (REPOSITORY / "docker-compose.yml", *sorted(DEPLOY.rglob("*"))):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path, path.read_text()
