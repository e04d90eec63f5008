"""The bill of materials: what the product needs and nothing else, with each part's licence."""

from packaging.requirements import Requirement

from tools.sbom.bill import UNKNOWN, closure, licences, only, wanted

PROJECT = {
    "dependencies": ["Web[fast]>=1"],
    "optional-dependencies": {"local": ["broker"], "dev": ["tester"]},
}

REQUIRES = {
    "web": ["speed; extra == 'fast'", "slowness; extra == 'slow'", "base"],
    "base": ["web"],
    "broker": ["never_mind ; sys_platform == 'moon'"],
}
"""Installed packages: they ask for each other in a circle, by unwanted extras, and on other machines."""

BILL = {
    "metadata": {"component": {"bom-ref": "root"}},
    "components": [
        {
            "bom-ref": "web==1",
            "name": "Web",
            "version": "1",
            "licenses": [
                {"license": {"name": "License :: OSI Approved :: BSD License"}},
                {"license": {"id": "BSD-3-Clause"}},
            ],
        },
        {"bom-ref": "base==2", "name": "base", "version": "2", "licenses": [{"expression": "MIT OR ISC"}]},
        {"bom-ref": "broker==4", "name": "broker", "version": "4"},
        {"bom-ref": "tester==3", "name": "tester", "version": "3"},
    ],
    "dependencies": [
        {"ref": "root", "dependsOn": ["web==1", "tester==3"]},
        {"ref": "web==1", "dependsOn": ["base==2", "tester==3"]},
        {"ref": "base==2"},
        {"ref": "tester==3", "dependsOn": ["web==1"]},
    ],
}


def names(*extras: str, without: frozenset[str] = frozenset()) -> frozenset[str]:
    return closure(wanted(PROJECT, extras), REQUIRES, without)


def test_a_package_is_needed_if_an_extra_that_is_asked_for_leads_to_it() -> None:
    assert names() == {"web", "speed", "base"}
    assert names("local") == {"web", "speed", "base", "broker"}
    assert names(without=frozenset({"base"})) == {"web", "speed"}


def test_what_is_for_development_is_in_no_part_of_the_bill() -> None:
    bill = only(BILL, names("local"))

    assert [one["name"] for one in bill["components"]] == ["Web", "base", "broker"]
    assert "tester" not in str(bill)
    assert bill["dependencies"] == [
        {"ref": "root", "dependsOn": ["web==1"]},
        {"ref": "web==1", "dependsOn": ["base==2"]},
        {"ref": "base==2", "dependsOn": []},
    ]


def test_each_licence_is_named_as_its_package_does() -> None:
    assert list(licences(only(BILL, names("local")))) == [
        ("Web", "1", "BSD License; BSD-3-Clause"),
        ("base", "2", "MIT OR ISC"),
        ("broker", "4", UNKNOWN),
    ]


def test_requirements_are_those_of_the_project_first() -> None:
    assert list(wanted(PROJECT, ())) == [Requirement("Web[fast]>=1")]
