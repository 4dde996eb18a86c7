"""The commands of a gateway, which lives in a folder: serve, keys, clients, release, forget; and a quota from an audit."""

from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Argument(help="Folder of a gateway.")]
Client = Annotated[str | None, typer.Argument(help="A client, by the beginning of their pseudonym.")]
Account = Annotated[
    str | None, typer.Option(help="The client by the name of their account; needs the gateway's secret.")
]
Tenant = Annotated[str | None, typer.Option(help="Of this tenant of a gateway alone.")]
Json = Annotated[bool, typer.Option("--json", help="Print as JSON.")]


def serve(
    folder: Folder,
    check: Annotated[
        bool, typer.Option("--check", help="Validate everything, say what would be done, and stop.")
    ] = False,
    quota_from: Annotated[
        Path | None,
        typer.Option(help="Folder of an audit that sizes each key's quota, as `gamekeeper quota` explains."),
    ] = None,
    accounts: Annotated[int, typer.Option(min=1, help="With --quota-from: accounts that a thief may have.")] = 5,
) -> None:
    """Put a gateway before a model: watched, with keys and quotas; it changes no answer unless its policy says so."""
    from gamekeeper.surfaces.serve import QuotaFrom, run_serve

    raise typer.Exit(run_serve(folder, check, None if quota_from is None else QuotaFrom(quota_from, accounts)))


def keys(
    folder: Folder,
    new: Annotated[
        str | None, typer.Option(metavar="ACCOUNT", help="Issue a key for this account, shown once.")
    ] = None,
    rotate: Annotated[str | None, typer.Option(metavar="ID", help="Issue another key in place of this one.")] = None,
    overlap: Annotated[float, typer.Option(help="Seconds for which a key that was replaced still works.")] = 86_400.0,
    revoke: Annotated[str | None, typer.Option(metavar="ID", help="End this key now.")] = None,
    tenant: Tenant = None,
    json: Json = False,
) -> None:
    """List a gateway's API keys and whose they are; issue, rotate or revoke one, also while the gateway is at work."""
    from gamekeeper.surfaces.gateway_keys import KeyChange, run_keys

    run_keys(folder, KeyChange(new, rotate, revoke, overlap), tenant, json)


def clients(
    folder: Folder, client: Client = None, account: Account = None, tenant: Tenant = None, json: Json = False
) -> None:
    """List a gateway's clients: level, queries, alarms, when they came last. Those of most concern come first."""
    from gamekeeper.engine.gateway.folder import Named
    from gamekeeper.surfaces.gateway_clients import list_clients

    list_clients(folder, Named(client, account, tenant), json)


def release(
    folder: Folder,
    client: Client = None,
    account: Account = None,
    tenant: Tenant = None,
    by: Annotated[str, typer.Option(help="Who decides.")] = "",
    reason: Annotated[str, typer.Option("--why", help="The reason, in a sentence.")] = "",
) -> None:
    """Put a client back to the lowest level and set today's alarms aside; only a person ever does."""
    from gamekeeper.engine.gateway.folder import Named
    from gamekeeper.surfaces.gateway_clients import release_client

    release_client(folder, Named(client, account, tenant), by, reason)


def forget(
    folder: Folder,
    client: Client = None,
    account: Account = None,
    tenant: Tenant = None,
) -> None:
    """Erase a client: events, memories, marks. One event that says so is left."""
    from gamekeeper.engine.gateway.folder import Named
    from gamekeeper.surfaces.gateway_clients import forget_client

    forget_client(folder, Named(client, account, tenant))


def quota(
    run: Annotated[Path, typer.Argument(help="Folder of an audit of the model that is served.")],
    accounts: Annotated[int, typer.Option(min=1, help="How many accounts a thief is believed to have.")] = 5,
    defense: Annotated[
        str, typer.Option(help="What an ordinary client's answers pass, as the audit spells it.")
    ] = "none",
    share: Annotated[
        float, typer.Option(help="Share of the model's accuracy that a thief must not reach: 0.8, 0.9 or 0.95.")
    ] = 0.8,
    days: Annotated[float, typer.Option(min=0.001, help="For how long the quota is.")] = 30.0,
) -> None:
    """Size the quota of each API key by what copies cost in an audit: lines for gateway.toml, and what they rest on."""
    from gamekeeper.surfaces.quota import print_quota

    print_quota(run, defense, share, accounts, days)
