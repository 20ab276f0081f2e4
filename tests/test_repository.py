"""The shape of the repository: who imports whom, what each room offers, and what is shipped."""

import ast
import configparser
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {
    "storage": set(),
    "wsi": {"storage"},
    "cohort": {"storage", "wsi"},
    "phantom": {"storage", "wsi", "cohort"},
    "batch": {"storage", "cohort"},
    "patching": {"storage", "wsi", "cohort", "batch"},
    "models": {"storage", "wsi"},
    "inference": {"storage", "wsi", "cohort", "batch", "models"},
    "eval": {"storage", "wsi", "cohort"},
    "annotate": {"storage", "wsi", "cohort", "eval"},
    "serve": {"storage", "wsi", "cohort", "batch", "annotate"},
    "training": {
        "storage",
        "wsi",
        "cohort",
        "batch",
        "patching",
        "models",
        "inference",
        "eval",
    },
}
FLOORS["doctor"] = set(FLOORS)
FLOORS["study"] = set(FLOORS) - {"doctor"}
FLOORS["cli"] = set(FLOORS)
INNER_ROOMS_OF_EVAL = (
    "settings",
    "predictions",
    "truth",
    "scoring",
    "statistics",
    "camelyon16",
    "pn_stage",
    "report",
)
"""From the ground up; a module imports from its own inner room and from those before it."""
KERAS_ROOMS = {"models", "training", "inference"}
KERAS = {"keras", "tensorflow", "tf_keras", "openvino", "onnxruntime", "nncf"}


def modules_of(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported(module: Path) -> set[str]:
    """Dotted names of all that a module imports, anywhere in it; relative imports resolved to
    `gigaslide.…`."""
    here = ("gigaslide", *module.relative_to(ROOT).with_suffix("").parts)
    package = here[:-1]
    names = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join((*base, *([node.module] if node.module else [])))
            names |= {stem, *(f"{stem}.{alias.name}" for alias in node.names)}
    return names


def room_of(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "gigaslide" and len(parts) > 1 and parts[1] in FLOORS else None


def packages_in_setup() -> list[str]:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    return setup["options"]["packages"].split()


def test_reading_of_imports_sees_all_forms():
    module = ROOT / "wsi" / "annotations" / "geojson.py"
    assert {
        "json",
        "shapely.geometry.Polygon",
        "gigaslide.storage.AnnotationError",
        "gigaslide.wsi.annotations.shapes",
    } <= imported(module)


def test_every_folder_with_python_is_a_room_or_a_known_exception():
    folders = {
        path.parent.relative_to(ROOT).parts[0]
        for path in ROOT.glob("*/*.py")
        if not path.parts[-2].startswith(".")
    }
    assert folders - {"tests", "benchmarks", "docs", "build"} == set(FLOORS)


@pytest.mark.parametrize("room", FLOORS)
def test_imports_point_down(room):
    wrong = {
        f"{module.relative_to(ROOT)} imports {name}"
        for module in modules_of(room)
        for name in imported(module)
        if room_of(name) not in (None, room, *FLOORS[room])
    }
    assert not wrong


def inner_rooms_above(module: Path) -> set[str]:
    """What a module of eval imports from inner rooms that come after its own."""
    rooms = INNER_ROOMS_OF_EVAL
    mine = rooms.index(module.relative_to(ROOT / "eval").with_suffix("").parts[0])
    used = {name.split(".")[2] for name in imported(module) if name.startswith("gigaslide.eval.")}
    return used & set(rooms[mine + 1 :])


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """Follow imports from every module until one comes back; empty where none does."""
    done: set[str] = set()

    def follow(name: str, path: list[str]) -> list[str]:
        if name in path:
            return path[path.index(name) :]
        if name in done:
            return []
        found = next((c for one in sorted(graph[name]) if (c := follow(one, [*path, name]))), [])
        done.add(name)
        return found

    return next((cycle for name in sorted(graph) if (cycle := follow(name, []))), [])


@pytest.mark.parametrize("room", FLOORS)
def test_no_module_imports_itself_over_others(room):
    paths = {
        ".".join(("gigaslide", *path.relative_to(ROOT).with_suffix("").parts)): path
        for path in modules_of(room)
        if path.name != "__init__.py"
    }
    graph = {name: imported(path) & paths.keys() for name, path in paths.items()}
    assert sum(map(len, graph.values())) > 5
    assert not find_cycle(graph)


def test_a_cycle_of_imports_is_found():
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]


def test_imports_point_down_within_eval():
    lower = [
        module
        for module in modules_of("eval")
        if module.relative_to(ROOT / "eval").with_suffix("").parts[0] in INNER_ROOMS_OF_EVAL
    ]
    found = {module.relative_to(ROOT).as_posix(): inner_rooms_above(module) for module in lower}
    assert not {module: above for module, above in found.items() if above}


@pytest.mark.parametrize("room", FLOORS)
def test_rooms_import_from_front_doors_only(room):
    behind = {
        f"{module.relative_to(ROOT)}: {'.' * node.level}{node.module}"
        for module in modules_of(room)
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module
        if node.level == len(module.relative_to(ROOT).parts)
        if "." in node.module
    }
    assert not behind


@pytest.mark.parametrize("room", FLOORS)
def test_rooms_import_each_other_by_relative_imports(room):
    absolute = {
        f"{module.relative_to(ROOT)}: {alias}"
        for module in modules_of(room)
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        for alias in (
            [a.name for a in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
        if alias.split(".")[0] == "gigaslide"
    }
    assert not absolute


@pytest.mark.parametrize("room", sorted(set(FLOORS) - KERAS_ROOMS))
def test_keras_stays_in_its_rooms(room):
    users = {
        f"{module.relative_to(ROOT)} imports {name}"
        for module in modules_of(room)
        for name in imported(module)
        if name.split(".")[0] in KERAS
    }
    assert not users


def test_inference_uses_keras_in_one_module():
    users = [
        m.name
        for m in modules_of("inference")
        if any(n.split(".")[0] in KERAS for n in imported(m))
    ]
    assert len(users) <= 1, users


def test_packages_in_setup_are_the_folders():
    folders = {
        "gigaslide." + ".".join(init.parent.relative_to(ROOT).parts)
        for room in FLOORS
        for init in (ROOT / room).rglob("__init__.py")
    }
    listed = packages_in_setup()
    assert len(listed) == len(set(listed))
    assert set(listed) == folders


def test_every_folder_of_a_room_is_a_package():
    bare = {
        m.parent
        for room in FLOORS
        for m in modules_of(room)
        if not (m.parent / "__init__.py").exists()
    }
    assert not bare


@pytest.mark.parametrize("room", FLOORS)
def test_front_door_offers_what_it_says(room):
    module = importlib.import_module(f"gigaslide.{room}")
    assert module.__doc__
    assert list(module.__all__) == sorted(module.__all__, key=_ruff_order)
    for name in module.__all__:
        assert getattr(module, name) is not None, name
    bound = {
        alias.asname or alias.name
        for node in ast.walk(ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module
        for alias in node.names
    }
    assert not {name for name in bound if not name.startswith("_")} - set(module.__all__)


def _ruff_order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions, as the linter sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("room", FLOORS)
def test_modules_define_what_their_all_names(room):
    for path in modules_of(room):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        said = next(
            (
                ast.literal_eval(node.value)
                for node in tree.body
                if isinstance(node, ast.Assign)
                and any(getattr(t, "id", "") == "__all__" for t in node.targets)
            ),
            [],
        )
        bound = {getattr(node, "name", "") for node in ast.walk(tree)}
        bound |= {
            node.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        bound |= {
            alias.asname or alias.name for alias in ast.walk(tree) if isinstance(alias, ast.alias)
        }
        assert set(said) <= bound, path


def test_there_is_no_package_file_at_the_root_and_all_errors_are_one_tree():
    assert not (ROOT / "__init__.py").exists()
    from gigaslide.storage import errors

    builtins = {OSError, ValueError, RuntimeError}
    for name in errors.__all__:
        kind = getattr(errors, name)
        assert issubclass(kind, errors.GigaslideError)
        if kind is not errors.GigaslideError:
            assert builtins & set(kind.__mro__), (
                f"{name} inherits no builtin a stranger would catch"
            )


def test_importing_rooms_does_not_import_keras():
    light = [room for room in FLOORS if room != "cli"]
    code = f"""import importlib, sys
for room in {light}:
    importlib.import_module(f"gigaslide.{{room}}")
    for name in {sorted(KERAS)}:
        if name in sys.modules:
            sys.exit(f"importing {{room}} imports {{name}}")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
