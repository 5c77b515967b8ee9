"""The words of a statement in the older version: its variables, functions, attributes, and the name for flor_ray."""

from __future__ import annotations

from collections.abc import Sequence

from flor_ray.propagation.adapting.doubts import Doubt
from flor_ray.propagation.adapting.edits import Carried
from flor_ray.propagation.adapting.renames import Counterpart, Renames
from flor_ray.propagation.reading.calls import Alias, visible
from flor_ray.propagation.reading.names import BUILTINS, NameScope
from flor_ray.propagation.reading.program import Program
from flor_ray.propagation.reading.tree import IMPORTS, Node


class Declined(Exception):
    """A statement cannot be carried over safely. Never leaves this package: it becomes a Refusal."""

    def __init__(self, reason: str, guess: Node | None = None, confidence: float = 0.0) -> None:
        self.reason, self.guess, self.confidence = reason, guess, confidence
        super().__init__(reason)


class Adaptation:
    """How the names in one unit of the newer program are written in a block of the older one.

    `lenient`: for a statement that is code of the script, and no log. A variable that has the same name in both
    versions is then the same variable, unless something says otherwise; and what it binds it may bind again.
    """

    def __init__(
        self,
        newer: Program,
        older: Program,
        renames: Renames,
        unit: Node,
        dropped: Sequence[Node],
        block: Node,
        replaced: Sequence[tuple[int, int]] = (),
        lenient: bool = False,
    ) -> None:
        self._newer, self._older, self._renames, self._unit = newer, older, renames, unit
        self.block, self._lenient = block, lenient
        self.scope: NameScope = older.names.scope_of(block.children[0]) if block.children else older.names.module
        self.replacements: dict[tuple[int, int], bytes] = {}
        self.renamed: dict[str, str] = {}
        self.read: list[tuple[str, NameScope | None, str]] = []  # newer name, its scope, older name
        self.lacking: list[tuple[str, NameScope | None]] = []
        self.lacking_aliases: list[Alias] = []
        self.carried: list[Carried] = []
        self.doubts: set[Doubt] = set()
        self._first: dict[
            tuple[int | None, str], str
        ] = {}  # by what it is an attribute of, if it is one, and older name
        self._aliases = {alias.node.index: alias for alias in newer.aliases}
        nodes = [
            node
            for node in newer.written.subtree(unit)
            if not any(each.contains(node) for each in dropped)
            and not any(start <= node.start and node.end <= end for start, end in replaced)
        ]
        self.own = self._bound_here(nodes)  # what the unit itself binds
        self._adapt(nodes)

    def _bound_here(self, nodes: Sequence[Node]) -> dict[str, NameScope]:
        """Names that the unit itself binds in the scope it stands in."""
        names = self._newer.written_names
        found: dict[str, NameScope] = {}
        for node in nodes:
            if node.kind == "identifier" and names.binds(node):
                owner = names.owner(node)
                if owner is not None and not self._unit.contains(owner.node):
                    found.setdefault(node.label, owner)
        return found

    def _adapt(self, nodes: Sequence[Node]) -> None:
        names = self._newer.written_names
        known: dict[tuple[str, int], str] = {}
        for node in nodes:
            if node.kind == "attribute_name":
                found = self._renames.attribute(node)
                self._add(found.doubt)
                self._replace(node, found.name or node.label)
                holder = node.parent.children[0].fingerprint if node.parent is not None else None
                self._keep_apart(node.label, (holder, found.name or node.label))
            if node.kind != "identifier" or not _is_occurrence(node):
                continue
            owner = names.owner(node)
            if owner is not None and self._unit.contains(owner.node):
                continue
            alias = self._alias_of(node, owner)
            if alias is not None:
                self._adapt_alias(node, alias)
                continue
            key = (node.label, owner.node.index if owner is not None else -1)
            if key not in known:
                known[key] = self._counterpart(node, owner)
            self._check_capture(node, known[key], owner)
            self._replace(node, known[key])
            self._keep_apart(node.label, (None, known[key]))

    def _counterpart(self, node: Node, owner: NameScope | None) -> str:
        name = node.label
        if name in self.own:
            return self._own_name(name, self.own[name])
        found = self._renames.variable(name, owner, self.scope, self._unit)
        if found.contradiction and self._lenient and self._older.names.lookup(name, self.scope) is not None:
            found = Counterpart(name, Doubt.SAME_NAME)
        if found.contradiction:
            raise Declined(found.contradiction)
        there = self._older.names.lookup(found.name, self.scope) if found.name is not None else None
        if owner is None and found.name in BUILTINS and there is not None and not _is_imported(found.name, there):
            raise Declined(f"it reads Python's own `{name}`, which is a variable of the older version")
        is_loose = owner is None and found.name == name and there is None
        if found.name is None or is_loose:
            self.lacking.append((name, owner))
            self.read.append((name, owner, name))
            return name
        self._add(found.doubt)
        self.read.append((name, owner, found.name))
        return found.name

    def _own_name(self, name: str, owner: NameScope) -> str:
        """A name that the unit binds must not overwrite a variable that the older version has for itself."""
        if _is_imported(name, owner, self._unit):
            there = self._older.names.lookup(name, self.scope)
            if there is self.scope and not _is_imported(name, there):
                raise Declined(f"it imports `{name}`, which is another variable in the older version")
            return name
        found = self._renames.own(name, owner, self.scope)
        if found.name is not None:
            self._add(found.doubt)
            if self._is_read_first(name, owner):
                self.read.append((name, owner, found.name))
            return found.name
        there = self._older.names.lookup(name, self.scope)
        if there is None or self._lenient:
            return name
        if there is self.scope and _only_loop_variable(there, name):
            return name
        private = all(self._unit.contains(node) for node in (*owner.bindings.get(name, ()), *owner.reads.get(name, ())))
        if not private:
            raise Declined(f"it binds `{name}`, which is another variable in the older version")
        fresh = name + "_"
        while self._older.names.lookup(fresh, self.scope) or self._newer.names.lookup(fresh, owner):
            fresh += "_"
        return fresh

    def _is_read_first(self, name: str, owner: NameScope) -> bool:
        return any(self._unit.contains(node) for node in owner.reads.get(name, ()))

    def _alias_of(self, node: Node, owner: NameScope | None) -> Alias | None:
        if owner is None:
            return next((each for each in self._newer.aliases if each.by_star and each.name == node.label), None)
        for bound in owner.bindings.get(node.label, ()):
            if bound.index in self._aliases:
                return self._aliases[bound.index]
        return None

    def _adapt_alias(self, node: Node, alias: Alias) -> None:
        """Write flor_ray's name as the older file knows it: `flor.log`, `Flor.log` or `log`."""
        if self._newer.written_names.binds(node):
            return
        there = visible(self._older.names, self._older.aliases, self.scope)
        name = _name_of(alias, there)
        if name is not None:
            self._replace(node, name)
        elif not self._becomes_a_function(node, alias, there):
            self._import_along(node, alias)

    def _becomes_a_function(self, node: Node, alias: Alias, there: Sequence[Alias]) -> bool:
        """Whether `flor.log` has been written as the function of its own that the older file has imported."""
        parent = node.parent
        if alias.target or parent is None or parent.kind != "attribute" or len(parent.children) != 2:
            return False
        function = next((each for each in there if each.target == parent.children[1].label), None)
        if function is None or self._newer.written.line(parent.start) != self._newer.written.last_line(parent):
            return False
        self.replacements[parent.start, parent.end] = function.name.encode()
        return True

    def _import_along(self, node: Node, alias: Alias) -> None:
        """Write the name that the newer file's import binds, and ask for this import to come along."""
        imported = alias.origin or alias
        if self._older.names.lookup(imported.name, self.scope) is not None:
            raise Declined(f"`{imported.name}` is not flor_ray in the older version, which does not import it")
        is_member = alias.target and alias.target != imported.target
        self._replace(node, f"{imported.name}.{alias.target}" if is_member else imported.name)
        self.lacking_aliases.append(imported)

    def _check_capture(self, node: Node, name: str, owner: NameScope | None) -> None:
        """A renamed variable must not become one that a lambda or comprehension in the unit binds."""
        if name == node.label:
            return
        scope: NameScope | None = self._newer.written_names.scope_of(node)
        while scope is not None and scope is not owner:
            if name in scope.bindings and self._unit.contains(scope.node):
                raise Declined(
                    f"`{node.label}` is `{name}` in the older version, a name that the statement binds itself"
                )
            scope = scope.outer

    def _keep_apart(self, name: str, there: tuple[int | None, str]) -> None:
        """Two variables, or attributes of one object, must not become one."""
        other = self._first.setdefault(there, name)
        if other != name:
            raise Declined(f"`{other}` and `{name}` would both be `{there[1]}` in the older version")

    def _add(self, doubt: Doubt | None) -> None:
        if doubt is not None:
            self.doubts.add(doubt)

    def _replace(self, node: Node, name: str) -> None:
        if name != node.label:
            self.replacements[node.start, node.end] = name.encode("utf-8", "surrogatepass")
            self.renamed[node.label] = name


def _name_of(alias: Alias, there: Sequence[Alias]) -> str | None:
    """What the older file, which has these aliases, calls what a newer alias stands for; None if it has no name."""
    modules = [each for each in there if not each.target and each.origin is None and not each.by_star]
    same = [each for each in there if each.target == alias.target and (each.target or not each.by_star)]
    # What another name was put into may not be bound yet where the statement is going to stand; imports come first.
    same = [each for each in same if each.origin is None] or ([] if modules else same)
    if same:
        return next((each.name for each in same if each.name == alias.name), same[0].name)
    return f"{modules[0].name}.{alias.target}" if alias.target and modules else None


def _is_imported(name: str, owner: NameScope, unit: Node | None = None) -> bool:
    """Whether an import, in a unit if one is given, binds a name: this is never a variable of another name."""
    bound = [node for node in owner.bindings.get(name, ()) if unit is None or unit.contains(node)]
    statements = [node.statement() for node in bound]
    return any(each is not None and each.kind in IMPORTS for each in statements)


def _is_occurrence(node: Node) -> bool:
    """Whether an identifier stands for a variable. What import statements say are names of modules, and in them."""
    parent = node.parent
    if parent is None or parent.kind in ("aliased_import", "global_statement", "nonlocal_statement"):
        return False
    if parent.kind != "dotted_name":
        return True
    statement = parent.statement()
    return parent.children[0] is node and (statement is None or statement.kind not in IMPORTS)


def _only_loop_variable(scope: NameScope, name: str) -> bool:
    """Whether every reading of a name stands in a loop that binds it: then another loop may bind it, too."""
    for read in scope.reads.get(name, ()):
        for ancestor in read.ancestors():
            if ancestor.kind == "for_statement" and any(ancestor.contains(node) for node in scope.bindings[name]):
                target = ancestor.child("left")
                if target is not None and any(target.contains(node) for node in scope.bindings[name]):
                    break
        else:
            return False
    return True
