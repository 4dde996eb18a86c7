"""A gateway that is ready to be started: all that its folder says, read, checked and armed."""

from collections.abc import Mapping
from dataclasses import dataclass

from gamekeeper.engine.gateway.armed_policy import EVERYBODY, PolicyFiles, policy_files
from gamekeeper.engine.gateway.folder import GatewayFolder
from gamekeeper.engine.gateway.gateway_config import Address, parse_address
from gamekeeper.engine.gateway.model_thread import steady
from gamekeeper.engine.gateway.rules import Rules
from gamekeeper.engine.gateway.watching import Watching, gateway_scene, watching
from gamekeeper.engine.scene import Say, Scene
from gamekeeper.errors import BadConfig
from gamekeeper.protocols.served import Served
from gamekeeper.service.principals import Pseudonyms
from gamekeeper.surfaces.gateway.settings import ServerSettings

ROWS = 256
"""Inputs of one request, at most."""


@dataclass(frozen=True, eq=False)
class Ready:
    """A gateway that was validated, but not started.

    watching  by tenant, "" for all without limits of their own; rules: by tenant in the same way
    """

    folder: GatewayFolder
    address: Address
    settings: ServerSettings
    pseudonyms: Pseudonyms
    scene: Scene
    watching: Mapping[str, Watching]
    policies: PolicyFiles
    rules: Mapping[str, Rules]

    @property
    def batch(self) -> int | None:
        """Rows of a bucket; None: no buckets."""
        wanted, target = self.folder.config.batch, self.scene.target
        buckets = wanted > 1 and not target.remote and steady(target.victim, target.box, wanted)
        return wanted if buckets else None

    @property
    def served(self) -> Served:
        """The model as its clients see it."""
        target = self.scene.target
        columns = tuple(each.name for each in target.schema.columns)
        return Served(
            self.folder.model,
            target.box,
            target.victim.task.classes,
            maps=None if target.explain is None else "maps",
            columns=columns if (len(columns),) == target.box.shape else (),
        )


def prepared(folder: GatewayFolder, say: Say) -> Ready:
    """Everything that can be wrong is found here."""
    config, pseudonyms = folder.config, folder.pseudonyms()
    address, settings = parse_address(config.listen), server_settings(folder)
    say("loading the model and arming the detectors")
    scene = gateway_scene(folder, pseudonyms.secret)
    own = {name: table.limits for name, table in config.tenant.items() if table.limits is not None}
    watched = {
        tenant: watching(scene, folder.file(name), say) for tenant, name in {EVERYBODY: config.limits, **own}.items()
    }
    policies = PolicyFiles(policy_files(folder), watched, scene.target, pseudonyms.secret)
    say("arming the policy's defenses")
    return Ready(folder, address, settings, pseudonyms, scene, watched, policies, policies.rules())


def server_settings(folder: GatewayFolder) -> ServerSettings:
    """Raises BadConfig for what cannot be."""
    config = folder.config
    address = parse_address(config.listen)
    metrics = None if config.metrics is None else parse_address(config.metrics)
    if metrics is not None and metrics.socket:
        raise BadConfig(f"metrics are served at host:port. Got {config.metrics}.")
    tls = config.tls
    return ServerSettings(
        host=address.host,
        port=address.port,
        unix=folder.file(address.socket) if address.socket else None,
        certificate=None if tls is None else folder.file(tls.certificate),
        private_key=None if tls is None else folder.file(tls.key),
        metrics=None if metrics is None else (metrics.host, metrics.port),
        trusted_proxy=tuple(config.trusted_proxy),
        threads=config.threads,
        queue=config.queue,
        message_timeout=config.message_timeout,
        answer_step=config.answer_step,
        failure_mode_allow=config.failure_mode_allow,
        drain=config.drain,
    )
