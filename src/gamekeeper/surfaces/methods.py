"""`gamekeeper methods`: every method with its paper and what it assumes, read from the files themselves."""

import sys
from dataclasses import asdict

import orjson
from rich.console import Console
from rich.table import Table

from gamekeeper.errors import BadConfig
from gamekeeper.method_text import ALIASES
from gamekeeper.methods import KINDS, Description, describe


def show_methods(name: str | None, json: bool) -> None:
    found = [describe(each, kind) for kind, names in KINDS.items() for each in names if name in (None, each)]
    if not found and name is not None and name in ALIASES:
        Console(highlight=False).print(f"{name} is {ALIASES[name]}: the same algorithm under the name the field knows.")
        return
    if not found:
        raise BadConfig(f"there is no method '{name}'. `gamekeeper methods` lists them all.")
    if json:
        sys.stdout.write(orjson.dumps([asdict(each) for each in found], option=orjson.OPT_INDENT_2).decode() + "\n")
    elif name is None:
        Console(highlight=False).print(table(found))
    else:
        for each in found:
            Console(highlight=False, soft_wrap=True).print(page(each))


def table(found: list[Description]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("kind", "name", "what it does"):
        table.add_column(column, no_wrap=column != "what it does")
    for each in found:
        table.add_row(each.kind, each.name, each.summary)
    for alias, meaning in ALIASES.items():
        table.add_row("alias", alias, meaning)
    return table


def page(each: Description) -> str:
    lines = [f"{each.name} ({each.kind}): {each.summary}"]
    lines += [f"  {parameter} = {meaning}" for parameter, meaning in each.parameters.items()]
    lines += [f"{word.lower()}: {text}" for word, text in each.head.items()]
    return "\n".join(lines)
