"""Imports point one way, from the outside in, and the leaves know nobody."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "server" / "steelyard"

# Rooms from the outside in. A room may use itself, and every room in a later line.
LEVELS: list[set[str]] = [
    {"cli", "console"},
    {"tune"},
    {"demo"},
    {"supervisor"},
    {"shadow", "replay"},
    {"fronts", "client"},
    {"rpc", "observe", "serving"},
    {"rollout", "evidence"},
    {"scheduling", "runtime", "pipelines"},
    {"models"},
    {"wire"},
    {"_native"},
]
LEAVES = {"addresses", "alarm", "errors", "config", "clock", "settings", "toml"}
# Leaves may use each other where one is simpler: no room, and no circle.
LEAF_IMPORTS: dict[str, set[str]] = {
    "addresses": set(),
    "alarm": set(),
    "errors": set(),
    "clock": set(),
    "toml": set(),
    "settings": {"addresses", "toml"},
    "config": {"errors", "settings", "toml"},
}
# Modules of plain values that know nobody: anyone may use them, and the settings take their defaults from them.
VALUES = {"steelyard.rpc.limits", "steelyard.fronts.http2.patience"}
LEVEL_OF = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}


def room_of(module: str) -> str:
    """The room of steelyard.<room>...; empty for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and module of each import of steelyard, wherever in the file it stands."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            if node.module == "steelyard":
                yield from ((node.lineno, f"steelyard.{alias.name}") for alias in node.names)
            elif node.module is not None and node.module.startswith("steelyard."):
                yield node.lineno, node.module
        elif isinstance(node, ast.Import):
            yield from (
                (node.lineno, alias.name) for alias in node.names if alias.name.startswith("steelyard.")
            )


FILES = sorted([*ROOT.rglob("*.py"), *ROOT.rglob("*.pyi")])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    relative = path.relative_to(ROOT)
    own = relative.parts[0] if len(relative.parts) > 1 else relative.stem
    if own == "__init__":
        # What the package shows of itself: the client is what callers import.
        allowed = {"client", "_version"}
    elif own in LEAVES:
        allowed = LEAF_IMPORTS[own]
    else:
        level = LEVEL_OF.get(own)
        assert level is not None, f"{own} has no place in the order of imports"
        allowed = (
            LEAVES | {own} | {room for room, other in LEVEL_OF.items() if other > level} | same_level(own)
        )
    wrong = [
        f"{relative}:{line}: {own} imports {module}"
        for line, module in imports(path)
        if room_of(module) not in allowed and not is_constant(module)
    ]
    assert not wrong, "\n".join(wrong)


def same_level(room: str) -> set[str]:
    """What a room may use beside it: serving counts with observe, and nothing the other way round."""
    return {"serving": {"observe", "rpc"}, "rollout": {"evidence"}, "fronts": set(), "observe": set()}.get(
        room, set()
    )


def is_constant(module: str) -> bool:
    return module == "steelyard.__version__" or module in VALUES


@pytest.mark.parametrize("module", sorted(VALUES))
def test_what_anyone_may_use_knows_nobody(module: str) -> None:
    path = ROOT.joinpath(*module.split(".")[1:]).with_suffix(".py")
    packages = [parent / "__init__.py" for parent in path.parents if parent.is_relative_to(ROOT)]
    for file in (path, *(package for package in packages if package.parent != ROOT)):
        assert not list(imports(file)), file


def test_every_room_has_a_place() -> None:
    rooms = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("__")}
    assert rooms <= LEVEL_OF.keys()
    modules = {path.stem for path in ROOT.glob("*.py")} - {"__init__"}
    assert modules <= LEAVES
