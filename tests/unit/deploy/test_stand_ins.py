"""The stand-ins of `make deploy-test` have the names of what they stand for."""

import re

from tests.unit.deploy.deployment import DEPLOY, raw_compose

TRY = DEPLOY / "try"

WITHOUT = {"grafana/grafana"}
"""What the tests of the deployment leave out."""


def test_there_is_a_stand_in_for_every_image_of_others() -> None:
    images = {service["image"].partition(":")[0] for service in raw_compose()["services"].values()}
    named = re.search(r"^for name in (.+); do$", (TRY / "stand-ins.sh").read_text(), re.MULTILINE)
    stages = re.findall(r"^FROM .* AS (\S+)$", (TRY / "stand-ins" / "Dockerfile").read_text(), re.MULTILINE)

    wanted = {name for name in images if "/" in name} - WITHOUT

    assert named
    assert set(named[1].split()) == wanted
    assert set(stages) == {name.rpartition("/")[2] for name in wanted}


def test_the_certificates_of_a_mirror_reach_no_image_of_ours() -> None:
    """Given what a machine's builds need to reach packages: it is in the stand-in, not in the Dockerfile."""
    assert "CERT" not in (DEPLOY / "docker" / "Dockerfile").read_text()
