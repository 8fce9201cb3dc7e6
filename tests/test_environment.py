"""One list of dependencies: environment.yml and constraints.txt say what pyproject.toml says."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
# `-e .[chinese]` installs three of these, `course.py test --browser` the fourth
ONLY_PYPI = {"pylopdf-fonts-zh-cn", "sentencepiece", "opencc", "playwright"}
FLOORS = {"sentencepiece": "0.2.3", "jupyter-server": "2.21", "jupyterlab": "4.6.2"}  # crashes, security
FREE = re.compile(r"(torch|triton|nvidia|cuda)(-|$)")  # each learner's machine decides these


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements() -> dict[str, Requirement]:
    extras = project()["optional-dependencies"]
    listed = project()["dependencies"] + extras["lab"] + extras["test"] + extras["browser"]
    return {canonicalize_name(r.name): r for r in map(Requirement, listed)}


def pins() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# uv pip compile pyproject.toml "), "the first line is the command that makes the file"
    return [Requirement(line) for line in lines[1:]]


def conda_packages() -> tuple[dict[str, str], list[str]]:
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert listed["channels"] == ["conda-forge"]
    specs = [re.fullmatch(r"([a-z_-]+)([!>=].*)?", spec) for spec in listed["dependencies"] if isinstance(spec, str)]
    pip = [spec["pip"] for spec in listed["dependencies"] if isinstance(spec, dict)]
    return {spec[1]: spec[2] or "" for spec in specs}, pip


def test_environment_yml_lists_what_pyproject_lists():
    packages, pip = conda_packages()
    assert pip == [["-e .[chinese]"]]
    assert packages.pop("python") == "=3.12" and packages.pop("pip") == ""
    wanted = {CONDA_NAMES.get(r.name, r.name): str(r.specifier).replace("==", "=") for r in requirements().values()}
    for name in ONLY_PYPI:
        del wanted[name]
    assert packages == wanted


def test_the_library_alone_leaves_a_hosted_jupyter_as_it_is():
    """Such a machine has its own versions of Jupyter's packages; the library's own list names none of them."""
    alone = {canonicalize_name(Requirement(line).name) for line in project()["dependencies"]}
    assert not [name for name in alone if name.startswith(("jupyter", "nb", "notebook", "ipykernel", "ipython"))]


def test_the_tests_install_what_the_chinese_extra_installs():
    extras = project()["optional-dependencies"]
    assert extras["chinese"] and set(extras["chinese"]) <= set(extras["test"])


@pytest.mark.parametrize("name", sorted(requirements()))
def test_every_package_is_pinned_within_its_range(name):
    wanted = requirements()[name]
    found = [pin for pin in pins() if canonicalize_name(pin.name) == name]
    if FREE.match(name):
        assert not found, f"{name} must stay out of constraints.txt, so that each machine can have its own build"
        return
    assert found, f"{name} is not in constraints.txt; its first line has the command that makes it"
    for pin in found:
        (exactly,) = pin.specifier
        assert exactly.operator == "==" and wanted.specifier.contains(exactly.version), f"{pin} is not {wanted}"


def test_security_floors_and_the_nbval_that_our_conftest_was_written_for():
    pinned = {canonicalize_name(pin.name): Version(next(iter(pin.specifier)).version) for pin in pins()}
    for name, floor in FLOORS.items():
        assert pinned[name] >= Version(floor)
        lower = [s.version for s in requirements()[name].specifier if s.operator == ">="]
        assert lower and Version(lower[0]) >= Version(floor), f"pyproject.toml lets in a {name} before {floor}"
    assert pinned["nbval"] == Version("0.11.0") and str(requirements()["nbval"].specifier) == "==0.11.0"


def test_constraints_hold_no_address_and_no_torch_build():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "://" not in text and "http" not in re.sub(r"(?m)^http(core|x)", "", text) and "file:" not in text
    assert not [pin.name for pin in pins() if FREE.match(canonicalize_name(pin.name))]
    assert not [pin.name for pin in pins() if pin.url or pin.extras], "pip refuses these in a constraints file"


def test_this_environment_is_the_pinned_one():
    """A pin applies to each requirement on this machine."""
    here = default_environment()
    applying = {canonicalize_name(pin.name) for pin in pins() if pin.marker is None or pin.marker.evaluate(here)}
    assert {name for name in requirements() if not FREE.match(name)} <= applying


def test_launcher_parses_on_old_pythons_and_needs_no_package():
    tree = ast.parse((ROOT / "course.py").read_text(encoding="utf-8"), feature_version=(3, 6))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module.split(".")[0])
    assert imported and imported <= sys.stdlib_module_names


def test_minimum_python_is_the_same_everywhere():
    assert project()["requires-python"] == ">=3.11"
    assert "MIN_PYTHON = (3, 11)" in (ROOT / "course.py").read_text(encoding="utf-8")
