"""Builds the native core: every `native/*.pyx` becomes `steelyard._native.<name>`.

Switches, by environment:
    STEELYARD_SANITIZE=address,undefined   compile with sanitizers (see `make test-asan`)
    STEELYARD_COVERAGE=1                   compile with line tracing for coverage
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

sanitize = os.environ.get("STEELYARD_SANITIZE", "")
coverage = os.environ.get("STEELYARD_COVERAGE") == "1"

# Python's own flags ask for debugging information, which takes a fifth of the time and which nobody reads.
compile_args = ["-O3", "-g0", "-std=c11", "-Wall", "-Wextra", "-Wno-unused-parameter", "-fvisibility=hidden"]
link_args: list[str] = []
macros: list[tuple[str, str | None]] = []
if sanitize:
    flags = [
        f"-fsanitize={sanitize}",
        "-fno-sanitize-recover=undefined",
        "-fno-omit-frame-pointer",
        # Lines, for the stacks in a report.
        "-g1",
        "-O1",
    ]
    compile_args += flags
    link_args += flags
if coverage:
    macros.append(("CYTHON_TRACE_NOGIL", "1"))
    macros.append(("CYTHON_USE_SYS_MONITORING", "0"))

extensions = [
    Extension(
        f"steelyard._native.{source.stem}",
        [str(source)],
        include_dirs=["native"],
        depends=[
            *sorted(str(path) for kind in ("*.h", "*.pxi") for path in Path("native").glob(kind)),
            *sorted(str(path) for path in Path("server/steelyard/_native").glob("*.pxd")),
        ],
        extra_compile_args=compile_args,
        extra_link_args=link_args,
        define_macros=macros,
    )
    for source in sorted(Path("native").glob("*.pyx"))
]

cores = len(os.sched_getaffinity(0))

setup(
    options={"build_ext": {"parallel": cores}},
    ext_modules=cythonize(
        extensions,
        build_dir="build/cython",
        nthreads=cores,
        # Where one extension finds what another says of its classes.
        include_path=["server"],
        compiler_directives={
            "language_level": "3",
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "linetrace": coverage,
        },
    ),
)
