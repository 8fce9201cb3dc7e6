"""Beside pyproject.toml only for this: a wheel carries the folder `data` inside the package (foundry_lib/paths.py)."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithData(build_py):
    """Copy `data`, which a checkout shares between the lessons and the package, into the package that is built."""

    def run(self):
        super().run()
        if not self.editable_mode:  # an editable installation reads the checkout's own folder
            shutil.copytree(Path("data"), Path(self.build_lib, "foundry_lib", "data"), dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithData})
