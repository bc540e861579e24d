"""The C++ tests, built apart from the extension."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def build_and_test(folder: Path, *options: str) -> None:
    if shutil.which("cmake") is None or not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        pytest.skip("the C++ tests need cmake and a C++ compiler")
    flags = ["-DCHIPLOOP_PYTHON=OFF", "-DCHIPLOOP_TESTS=ON", *options]
    for command in (
        ["cmake", "-S", str(ROOT), "-B", str(folder), *flags],
        ["cmake", "--build", str(folder)],
        ["ctest", "--test-dir", str(folder), "--output-on-failure", "--no-tests=error"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"


def test_cpp(tmp_path: Path) -> None:
    build_and_test(tmp_path)


@pytest.mark.slow
def test_cpp_under_sanitizers(tmp_path: Path) -> None:
    build_and_test(tmp_path, "-DCHIPLOOP_SANITIZE=ON")
