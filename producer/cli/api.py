"""Commands of the HTTP API: api serves it, api-key makes keys for it."""

import click
import structlog

from contract.errors import ExitCode, SettingsError
from contract.settings import Settings, variable_of
from producer.api.security.keys import SCOPES, Scope, load_keyring, new_key
from producer.cli import options


@options.command()
@options.with_settings(
    *options.API,
    "model_store",
    *options.JOB,
    *options.TURN,
    "tenants",
    *options.LIMITS,
    *options.WATCHING,
    "visibility_timeout",
    "retention_days",
)
def api(settings: Settings) -> ExitCode:
    """Serve the HTTP API and the web UI until stopped."""
    settings.broker_url()
    if not settings.allowed_roots:
        raise SettingsError(
            f"no allowed roots: set {variable_of('allowed_roots')} to the folders and remote prefixes that "
            "jobs may read sources from and write workspaces to"
        )
    keyring = load_keyring(settings)
    # Imported here: other commands need no web framework, and work without it.
    try:
        from producer.api.serve import serve
    except ImportError as error:
        raise SettingsError(
            f"the HTTP API's libraries are not installed ({error.name}): pip install 'trace-ocr-batch[api]'"
        ) from error
    if not keyring.required:
        structlog.get_logger().warning(
            "api_without_keys",
            effect="everyone who reaches the API has full access",
            address=settings.api_address,
        )
    serve(settings, keyring)
    return ExitCode.OK


@click.command("api-key")
@click.argument("name")
@click.option(
    "--scope", "scopes", type=click.Choice(SCOPES), multiple=True, required=True, help="What the key allows."
)
@click.option(
    "--root",
    "roots",
    multiple=True,
    help="Folder or remote prefix whose jobs the key may submit, steer and read; all jobs if none is given.",
)
@click.option("--tenant", help="Tenant of the key's jobs, one of the setting tenants.")
def api_key(name: str, scopes: tuple[Scope, ...], roots: tuple[str, ...], tenant: str | None) -> ExitCode:
    """Make a key for the HTTP API; print it once, with the settings entry that makes it valid."""
    key, entry = new_key(name, scopes, roots, tenant)
    click.echo(f"key    {key}")
    click.echo(f"entry  {entry}")
    click.echo(
        f"Give the key to its user. Put the entry in {variable_of('api_keys')}, or on a line of the file "
        f"of {variable_of('api_keys_file')}.",
        err=True,
    )
    return ExitCode.OK
