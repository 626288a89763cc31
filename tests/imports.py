"""What a module of this repository imports, by reading the code: also what functions import when they are called.

A family of models is reached through `pipeline.models.family`: who imports one of its functions runs the module of the family
that this function calls.
"""

import ast
from collections.abc import Callable
from functools import cache
from pathlib import Path

from pipeline.models.family import FAMILIES

ROOT = Path(__file__).parent.parent
PACKAGES = ("stages", "pipeline")
FAMILY = "pipeline.models.family"


@cache
def modules() -> dict[str, Path]:
    """Every module of the code that stages run, by its dotted name."""
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


@cache
def called_by_family() -> dict[str, str]:
    """The functions of `pipeline.models.family` that call a family's module, themselves or through another one, and its name."""
    found: dict[str, str] = {}
    for function in tree(FAMILY).body:
        if isinstance(function, ast.FunctionDef) and function.name != "_module":
            for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                called = getattr(call.func, "id", "")
                if called == "_module":
                    found[f"{FAMILY}.{function.name}"] = call.args[1].value
                elif f"{FAMILY}.{called}" in found:
                    found.setdefault(f"{FAMILY}.{function.name}", found[f"{FAMILY}.{called}"])
    return found


@cache
def imported_by(module: str, family: str | None = None) -> frozenset[str]:
    """The modules that `module` imports itself, the packages that they lie in included; of one family, or of all."""
    package = module.split(".") if modules()[module].name == "__init__.py" else module.split(".")[:-1]
    names = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names.update(f"{base}.{alias.name}" for alias in node.names)
            names.add(base)
    for called in names & set(called_by_family()):
        families = FAMILIES if family is None else [family]
        names |= {f"pipeline.models.{one}.{called_by_family()[called]}" for one in families}
    names |= {name.rsplit(".", depth)[0] for name in names for depth in range(1, name.count(".") + 1)}
    return frozenset(names & set(modules()) - {module})


def closure(module: str, family: str | None = None, through: Callable[[str], bool] = lambda name: True) -> set[str]:
    """`module` and all that it imports, directly or not. through: whether what a module imports is looked at."""
    found, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            if through(name):
                waiting += imported_by(name, family)
    return found
