"""`gamekeeper claim`: making a claim, committing to it in a register with a dated stamp, and opening it for a judge."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

import numpy as np

from gamekeeper.data.readers import read
from gamekeeper.errors import BadClaim, BadConfig
from gamekeeper.keys import make_key, read_key
from gamekeeper.ownership import register, stamps
from gamekeeper.ownership.claim import MOST_FACTS, Claim, commitment, load_claim, save_claim
from gamekeeper.ownership.draws import Draw
from gamekeeper.ownership.procedures import inputs_digest
from gamekeeper.ownership.record import Beacon, beacon_bytes
from gamekeeper.ownership.register import Entry
from gamekeeper.ownership.schemes.backdoor import Backdoor, Kind
from gamekeeper.ownership.schemes.own_mistakes import OwnMistakes
from gamekeeper.surfaces.audit import lines
from gamekeeper.surfaces.report.words import plain
from gamekeeper.targets.load import load_target

SUFFIX = ".safetensors"
QUERY = "curl -sS -H 'Content-Type: application/timestamp-query' --data-binary @{request} URL -o {response}"


def make(data: Path, facts: Sequence[str], beacon: str | None, classes: int | None, out: Path) -> None:
    """Writes a claim of matches from a file of inputs and labels; without labels, a beacon draws them."""
    inputs = read(data)
    named = facts_of(facts)
    if inputs.y is not None and beacon is None:
        claim = Claim("matches", {"x": inputs.x, "y": inputs.y.long()}, named)
    elif inputs.y is None and beacon is not None and classes is not None:
        draw = Draw(beacon_bytes(Beacon(beacon, 0)), inputs_digest(inputs.x))
        labels = draw.labels("labels", classes, len(inputs.x))
        claim = Claim("matches", {"x": inputs.x, "y": labels}, {**named, "beacon": beacon, "classes": classes})
    else:
        raise BadConfig(
            f"{data} must hold inputs and labels, or inputs alone with --beacon and --classes, which draw the labels."
            f" It holds {'no ' if inputs.y is None else ''}labels."
        )
    conclude(claim, out)


def own_mistakes(target: str, most: int, seed: int, out: Path) -> None:
    """Writes the claim of a model's wrong answers to its natural inputs. Raises Unsuited if there are none."""
    victim = load_target(target)
    if victim.remote:
        raise BadConfig(f"{target} is a live API. An owner makes a claim from the model itself: name its file.")
    conclude(OwnMistakes(most)(victim.victim, victim.owner, seed), out)


def triggers(target: str, kind: str, count: int, seed: int, out: Path) -> None:
    """Writes the inputs of a backdoor, without labels, as an npz file. Raises BadConfig or Unsuited."""
    if out.suffix != ".npz":
        raise BadConfig(f"inputs are written as a file of numpy: --out NAME.npz. Got {out}.")
    if kind not in get_args(Kind):
        raise BadConfig(f"--kind must be {', '.join(get_args(Kind))}. Got {kind!r}.")
    inputs = Backdoor(cast(Kind, kind), count).triggers(load_target(target).owner, seed)
    np.savez(out, x=inputs.numpy())
    say = lines()
    say(f"inputs: {plain(str(out))}, {len(inputs):,} of kind {kind}, digest {inputs_digest(inputs)}")
    say(
        "Commit to them (gamekeeper claim register), wait for a beacon, let it draw the labels (gamekeeper claim make), train"
    )
    say("the model with them, and commit to the claim.")


def conclude(claim: Claim, out: Path) -> None:
    save_claim(claim, out)
    say = lines()
    say(f"claim: {plain(str(out))}, {len(claim.tensors['y']):,} inputs with labels, digest {claim.digest()}")
    say("Keep it secret until a dispute, and commit to it now: gamekeeper claim register")


def facts_of(texts: Sequence[str]) -> dict[str, str | int]:
    """From name=value. Raises BadConfig."""
    pairs = [text.partition("=") for text in texts]
    wrong = [text for text, (_, sign, _) in zip(texts, pairs, strict=True) if not sign]
    if wrong or len({name for name, _, _ in pairs}) < len(pairs) or len(pairs) > MOST_FACTS:
        raise BadConfig(f"--fact takes name=value, each name once. Got {', '.join(map(repr, texts))[:200]}.")
    return {name: value for name, _, value in pairs}


def digest_in(path: Path) -> tuple[str, str]:
    """What is committed to, by digest and in words: a claim, or the inputs of one whose labels are still to be drawn."""
    if path.suffix == SUFFIX:
        return load_claim(path).digest(), "the claim"
    inputs = read(path)
    if inputs.y is not None:
        raise BadConfig(
            f"{path} holds labels, so it is more than inputs. Make a claim of it first: gamekeeper claim make {path}"
        )
    return inputs_digest(inputs.x), f"the {len(inputs):,} inputs, without labels,"


def enter(
    path: Path, into: Path, opening: Path | None, request: Path | None, responses: Sequence[Path], trust: Path | None
) -> None:
    """Commits to a claim, or to inputs. With `request`, only writes what an authority is to stamp."""
    digest, what = digest_in(path)
    key = opening or path.with_name(f"{path.name}.opening")
    if not key.exists():
        make_key(key)
    entry = register.upcoming(into, commitment(digest, read_key(key)), int(time.time()))
    say = lines()
    if request is not None:
        request.write_bytes(stamps.request(register.stamped(entry)).body)
        ask_for_a_stamp(path, into, request)
        return
    dated = [stamp_in(response, entry, trust) for response in responses]
    register.append(into, replace(entry, stamps=tuple(data for data, _ in dated)))
    head = register.read(into)[-1].hash()
    say(f"{plain(str(into))} commits to {what} of {plain(str(path))}; its head is now {head}. Publish that.")
    say(
        f"{plain(str(key))} opens the commitment. Whoever loses it cannot use the claim; keep it secret until a dispute."
    )
    for _, stamp in dated:
        say(f"stamped: {stamps.day(stamp.at)}")
    if not dated:
        say("No stamp dates this entry, so a judge will call the claim void. Begin again with --stamp-request.")


def stamp_in(response: Path, entry: Entry, trust: Path | None) -> tuple[bytes, stamps.Stamp]:
    """A response, verified. Raises BadClaim if it is not one to this entry."""
    if trust is None:
        raise BadConfig("a stamp is verified before it is stored: name the authority's root certificate with --trust.")
    try:
        with response.open("rb") as file:
            data = file.read(stamps.MOST_BYTES + 1)
    except OSError as error:
        raise BadClaim(f"the stamp {response} cannot be read: {error.strerror}.") from error
    try:
        return data, stamps.verified(data, register.stamped(entry), stamps.read_roots(trust))
    except BadClaim as error:
        raise BadClaim(
            f"{response}: {error} If another entry was added to the register since, ask for a new one with --stamp-request."
        ) from None


def ask_for_a_stamp(path: Path, into: Path, request: Path) -> None:
    response = request.with_suffix(".tsr")
    say = lines()
    say(f"request: {plain(str(request))}. Nothing is registered yet. Send it to a time-stamping authority (RFC 3161):")
    say(f"    {QUERY.format(request=plain(str(request)), response=plain(str(response)))}")
    say("and register with its answer, before anything else is added:")
    say(
        f"    gamekeeper claim register {plain(str(path))} --register {plain(str(into))} --stamp {plain(str(response))}"
        " --trust ROOT.pem"
    )


def reveal(path: Path, within: Path, opening: Path | None) -> None:
    """Adds the opening to the register, for everybody to see."""
    digest, what = digest_in(path)
    key = read_key(opening or path.with_name(f"{path.name}.opening"))
    register.append(within, register.upcoming(within, commitment(digest, key), int(time.time()), key))
    say = lines()
    say(
        f"{plain(str(within))} now opens the commitment to {what} of {plain(str(path))}. Whoever has it can check that."
    )
