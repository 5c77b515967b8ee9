"""Hyper-parameters in a script: constants for flor.arg, and configurations that flor.autolog records whole. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flor_ray.analysis.nodes import walk
from flor_ray.analysis.proposing.codebase import Codebase, Routine, is_of_main
from flor_ray.analysis.scopes import Assigned

# Names that say of themselves that they are hyper-parameters. Of other constants nobody knows.
_HYPER = re.compile(
    r"""^(?:
        (?:\w+_)?(?:lr|learning_rate|momentum|weight_decay|dropout|temperature|batch_size|seed)(?:_\w+)?
      | lr\w* | wd | bs | betas? | beta_?[12] | eps(?:ilon)? | gamma | alpha | tau | lam(?:bda)?_? | p_drop
      | width | depth
      | (?:n|num|max|min|total|warmup|accum|accumulation|grad_accum|gradient_accumulation)_\w+
      | (?:train|inner|outer|update|eval)_\w+
      | (?:\w+_)?(?:epochs|steps|iters|iterations|updates|layers|heads|hidden|units|dim|dims|size|episodes|patience)
      | hidden\w* | latent\w* | embed\w* | n_?embd | epochs | steps | warmup\w* | clip\w* | grad_clip\w* | max_norm
      | block_size | seq_len\w* | max_len\w* | vocab_size | optimizer_name | model_name | activation | label_smoothing
    )$""",
    re.IGNORECASE | re.VERBOSE,
)
_CONFIG = re.compile(
    r"(?:^|_)(?:config|configs|cfg|conf|args|hparams|hparam|params|hyperparameters|hyperparams|options|opts|settings)$",
    re.I,
)
_PARSERS = frozenset({"parse_args", "parse_known_args", "parse_args_into_dataclasses", "parse_intermixed_args"})
# They answer a configuration of a kind that flor.autolog takes.
_MAKERS = frozenset(
    {"tyro.cli", "simple_parsing.parse", "pyrallis.parse", "draccus.parse", "chz.entrypoint", "jsonargparse.CLI"}
)
_OMEGA = re.compile(r"(?:^|\.)OmegaConf\.(?:load|create|merge|from_cli|structured)$")
_COMMANDS = frozenset({"command"})  # decorators of click and typer


@dataclass(frozen=True, slots=True)
class ConstantArgument:
    """`lr = 0.1`, to become `lr = flor.arg("lr", 0.1)`."""

    routine: Routine
    name: str
    value: ast.expr


@dataclass(frozen=True, slots=True)
class Configuration:
    """What flor.autolog is to be given, and after which statement; no statement: first in the routine."""

    routine: Routine
    given: str  # "cfg", '{"lr": lr}', or "" for what argparse reads
    after: ast.stmt | None
    why: str


def parses_arguments(code: Codebase, calls: Sequence[tuple[Routine, ast.Call]]) -> tuple[Routine, ast.Call] | None:
    """Where the command line is read by argparse, or by what stands on it."""
    for routine, call in calls:
        if isinstance(call.func, ast.Attribute) and call.func.attr in _PARSERS and _imports_a_parser(code):
            return routine, call
    return None


def _imports_a_parser(code: Codebase) -> bool:
    modules = {each.module for text in code.texts.values() for each in text.source.imports}
    return bool(modules & {"argparse", "transformers", "trl", "configargparse"})


def configurations(code: Codebase, routines: Sequence[Routine]) -> Iterator[Configuration]:
    """Configurations that these routines make or are given, in the order of the text."""
    for routine in routines:
        if not isinstance(routine.node, ast.Module):
            yield from _of_command(code, routine)
        for statement in _straight(routine.node.body):
            if (isinstance(statement, ast.Assign) and len(statement.targets) == 1) or isinstance(
                statement, ast.AnnAssign
            ):
                target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
                why = _config_made(code, routine, target, statement.value) if statement.value is not None else ""
                if why and isinstance(target, ast.Name):
                    yield Configuration(routine, target.id, statement, why)


_STARTERS = frozenset({"fire.Fire", "typer.run", "defopt.run", "jsonargparse.CLI", "jsonargparse.auto_cli"})


def started_with_options(code: Codebase, calls: Sequence[tuple[Routine, ast.Call]]) -> Iterator[Configuration]:
    """Functions whose parameters become options: `fire.Fire(main)`."""
    for routine, call in calls:
        if call.args and code.dotted(routine, call.func) in _STARTERS:
            for callee in code.callees(routine, ast.Call(call.args[0], [], [])):
                if callee.name and callee.owner is None and callee.parameters:
                    given = ", ".join(f'"{name}": {name}' for name in callee.parameters)
                    yield Configuration(callee, f"{{{given}}}", None, "the command line becomes its parameters")


def _of_command(code: Codebase, routine: Routine) -> Iterator[Configuration]:
    assert not isinstance(routine.node, ast.Module)
    for decorator in routine.node.decorator_list:
        function = decorator.func if isinstance(decorator, ast.Call) else decorator
        dotted = code.dotted(code.top_of(routine.path), function)
        names = [*routine.parameters, *(each.arg for each in routine.node.args.kwonlyargs)]
        if dotted == "hydra.main" and names:
            yield Configuration(routine, names[0], None, "hydra gives it the configuration")
        elif dotted.rpartition(".")[2] in _COMMANDS and names and not routine.node.args.kwarg:
            given = ", ".join(f'"{name}": {name}' for name in names if name not in ("ctx", "context"))
            yield Configuration(routine, f"{{{given}}}", None, f"the command line becomes its parameters ({dotted})")


def _config_made(code: Codebase, routine: Routine, target: ast.expr, value: ast.expr) -> str:
    if not isinstance(target, ast.Name):
        return ""
    if isinstance(value, ast.Dict) and _CONFIG.search(target.id) and value.keys and _is_plain(value):
        return "a dict of constants with a configuration's name"
    if not isinstance(value, ast.Call):
        return ""
    dotted = code.dotted(routine, value.func)
    if dotted in _MAKERS or _OMEGA.search(dotted):
        return f"made by {dotted}"
    made = code.class_named(routine, dotted)
    if made is None or not _is_config_class(code, *made):
        return ""
    is_named = _CONFIG.search(target.id) or re.search(r"Config|Args|Params|Settings|Options", made[1].name)
    return f"a {made[1].name}, which is a class of fields" if is_named else ""


def _is_plain(value: ast.expr) -> bool:
    allowed = (
        ast.Dict | ast.Constant | ast.UnaryOp | ast.List | ast.Tuple | ast.USub | ast.Load | ast.BinOp | ast.operator
    )
    return all(isinstance(each, allowed) for each in walk(value))


def _is_config_class(code: Codebase, path: str, made: ast.ClassDef) -> bool:
    top = code.top_of(path)
    functions = [each.func if isinstance(each, ast.Call) else each for each in made.decorator_list]
    if any(code.dotted(top, each).rpartition(".")[2] == "dataclass" for each in functions):
        return True
    return any(
        code.dotted(top, base) in ("pydantic.BaseModel", "pydantic_settings.BaseSettings") for base in made.bases
    )


def constants(code: Codebase, routines: Sequence[Routine], before: int) -> Iterator[ConstantArgument]:
    """Constants of these routines that are hyper-parameters by their names, are bound once, and are read somewhere.
    `before`: the line of the main loop, in the routine that is the last of these."""
    for routine in routines:
        scope = code.scope(routine)
        source = code.texts[routine.path].source
        read = {name for each in source.scopes for name in each.reads if each.owner(name) is scope}
        for statement in _straight(routine.node.body):
            if routine is routines[-1] and statement.lineno >= before:
                break
            if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
                continue
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            target = targets[0]
            if len(targets) != 1 or not isinstance(target, ast.Name) or not _HYPER.match(target.id):
                continue
            bound = scope.bindings.get(target.id, [])
            once = len(bound) == 1 and isinstance(bound[0], Assigned)
            if once and target.id in read and _is_number_or_text(statement.value):
                yield ConstantArgument(routine, target.id, statement.value)


def _is_number_or_text(value: ast.expr) -> bool:
    if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.USub):
        value = value.operand
    return isinstance(value, ast.Constant) and isinstance(value.value, bool | int | float | str)


def _straight(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run once and in any case, those of `if __name__ == "__main__":` and of `with` among them."""
    for statement in body:
        if isinstance(statement, ast.With) or (isinstance(statement, ast.If) and is_of_main(statement)):
            yield from _straight(statement.body)
        else:
            yield statement
