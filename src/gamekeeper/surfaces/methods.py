"""`gamekeeper methods`: every method with its paper and what it assumes, read from the methods' own files."""

import sys
from dataclasses import asdict
from difflib import get_close_matches

import orjson
from rich.console import Console
from rich.table import Table

from gamekeeper.errors import BadConfig
from gamekeeper.method_text import ALIASES
from gamekeeper.methods import KINDS, Description, describe


def show_methods(name: str | None, json: bool) -> None:
    descriptions = [describe(each, kind) for kind, names in KINDS.items() for each in names if name in (None, each)]
    if not descriptions and name is not None and name in ALIASES:
        Console(highlight=False).print(f"{name} is {ALIASES[name]}: the same algorithm under its established name.")
        return
    if not descriptions:
        known = [*(each for names in KINDS.values() for each in names), *ALIASES]
        near = get_close_matches(name or "", known, 1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise BadConfig(f"there is no method '{name}'.{hint} Run `gamekeeper methods` to list them all.")
    if json:
        sys.stdout.write(
            orjson.dumps([asdict(each) for each in descriptions], option=orjson.OPT_INDENT_2).decode() + "\n"
        )
    elif name is None:
        Console(highlight=False).print(table(descriptions))
    else:
        for each in descriptions:
            Console(highlight=False, soft_wrap=True).print(page(each))


def table(descriptions: list[Description]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("kind", "name", "what it does"):
        table.add_column(column, no_wrap=column != "what it does")
    for each in descriptions:
        table.add_row(each.kind, each.name, each.summary)
    for alias, meaning in ALIASES.items():
        table.add_row("alias", alias, meaning)
    return table


def page(each: Description) -> str:
    lines = [f"{each.name} ({each.kind}): {each.summary}"]
    lines += [f"  {parameter} = {meaning}" for parameter, meaning in each.parameters.items()]
    lines += [f"{word.lower()}: {text}" for word, text in each.head.items()]
    return "\n".join(lines)
