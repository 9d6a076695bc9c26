"""`cifar-tune serve`."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from cifar_tune.cli import executor_options, oidc_options, options
from cifar_tune.streams import say

_ROLE_HEADER = "Its header with the role; without one, everybody has --proxy-role."


def serve(
    storage: options.Storage = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(callback=options.within(0, 65535), help="The port; 0: any free one.")] = 8000,
    devices: Annotated[str, typer.Option(help="auto, cpu, or a list such as cuda:0,cuda:1.")] = "auto",
    slots: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Slots on each device. Default: all cores, or per GPU what `run --workers auto` found best.",
            show_default=False,
        ),
    ] = None,
    engine: executor_options.Engine = "local",
    address: executor_options.Address = None,
    gpus_per_worker: executor_options.GpusPerWorker = None,
    data_folder: Annotated[
        Path | None,
        typer.Option(
            "--data-folder",
            metavar="DIR",
            help="Images of studies that come over HTTP must lie in here.",
            show_default=False,
            callback=options.path,
        ),
    ] = None,
    allow_plugin: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-plugin",
            metavar="NAME",
            help="An installed package of parts that studies may use. Repeatable.",
            show_default=False,
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="Answer to this name too. Repeatable.", show_default=False),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(
            "--tls-certificate",
            metavar="FILE",
            help="The certificate for TLS.",
            show_default=False,
            callback=options.path,
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            "--tls-key", metavar="FILE", help="The key of the certificate.", show_default=False, callback=options.path
        ),
    ] = None,
    allow_plain_http: Annotated[
        bool, typer.Option("--allow-plain-http", help="Let other machines in without TLS.")
    ] = False,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            "--trusted-proxy",
            metavar="ADDRESS",
            help="A proxy that says who people are. Repeatable.",
            show_default=False,
        ),
    ] = None,
    proxy_user_header: Annotated[
        str, typer.Option("--proxy-user-header", metavar="NAME", help="Its header with the name.")
    ] = "X-Forwarded-User",
    proxy_role_header: Annotated[
        str | None, typer.Option("--proxy-role-header", metavar="NAME", help=_ROLE_HEADER, show_default=False)
    ] = None,
    proxy_role: Annotated[
        str, typer.Option("--proxy-role", metavar="ROLE", help="The role of people whom the proxy gives none.")
    ] = "viewer",
    oidc_issuer: oidc_options.Issuer = None,
    oidc_client_id: oidc_options.ClientId = None,
    oidc_secret_file: oidc_options.SecretFile = None,
    public_address: oidc_options.PublicAddress = None,
    oidc_label: oidc_options.Label = "",
    oidc_name_claim: oidc_options.NameClaim = "email",
    oidc_groups_claim: oidc_options.GroupsClaim = "groups",
    oidc_role: oidc_options.Roles = None,
    oidc_default_role: oidc_options.DefaultRole = "none",
    oidc_scope: oidc_options.Scopes = None,
    no_http: Annotated[bool, typer.Option("--no-http", help="Only run studies: no pages, no HTTP interface.")] = False,
) -> None:
    """Run what is submitted, and share the slots of this machine, or of a Ray cluster, among people.

    It prints its address and, at the first start, the token of an administrator. There is one server for each storage.
    When it ends, all trials are parked; when it starts again, they go on. If it is killed, they go on without it.
    """
    say("starting", err=True)  # importing what follows takes seconds
    from cifar_tune.cli.serving import leave, require_packages, serve
    from cifar_tune.errors import Problem, UserError, all_at_once
    from cifar_tune.service.cluster_slots import cluster_slots
    from cifar_tune.service.people import role_of
    from cifar_tune.service.slots import find_slots
    from cifar_tune.service.supervising import Settings
    from cifar_tune.storage.urls import storage_url
    from cifar_tune.web.settings import TrustedProxy, WebSettings, check_settings

    with all_at_once() as stage:
        with stage:
            url = storage_url(storage)
        with stage:
            if not no_http:
                require_packages()
        with stage:
            role = role_of(proxy_role, "--proxy-role")
        with stage:
            proxy = (
                TrustedProxy(tuple(trusted_proxy), proxy_user_header, proxy_role_header, role)
                if trusted_proxy
                else None
            )
            oidc = oidc_options.oidc_settings(
                oidc_issuer,
                oidc_client_id,
                oidc_secret_file,
                public_address,
                oidc_label,
                oidc_name_claim,
                oidc_groups_claim,
                oidc_role,
                oidc_default_role,
                oidc_scope,
            )
            web = WebSettings(
                host,
                port,
                tuple(allow_host or ()),
                allow_plain_http,
                certificate,
                key,
                proxy,
                data_folder,
                tuple(allow_plugin or ()),
                oidc=oidc,
            )
            check_settings(web)
        with stage:
            where = executor_options.executor_options("auto", devices, engine, address, gpus_per_worker)
            if engine == "ray" and slots is not None:
                rule = "belongs to --engine local: on a cluster a slot is a CPU, or a share of a GPU"
                raise UserError(Problem(rule, "--slots", slots))
            if engine != "ray" and where.devices != ("cpu",):
                say("looking for devices", err=True)
            found = () if engine == "ray" else find_slots(where.devices, slots)
    with ExitStack() as beside:
        settings = Settings(found)
        if engine == "ray":
            say("connecting to the Ray cluster", err=True)
            cluster = beside.enter_context(cluster_slots(address, gpus_per_worker))
            settings = Settings(cluster.slots(), command=cluster.command, renewed=cluster.slots)
        serve(url, settings, None if no_http else web)
    leave()
