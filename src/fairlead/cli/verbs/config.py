"""``fairlead config``: print the project that the Compose files describe, as ``docker compose config`` does.

Registered by name in :mod:`fairlead.cli.main`. It needs no controller and no engine: it loads, prints, and ends.
"""

from __future__ import annotations

import click

from fairlead.cli.project_options import load_options, project_options
from fairlead.spec.load import LoadOptions, Tree, load_model_tree, load_tree
from fairlead.spec.render import canonical, image_name, service_hash, to_json, to_yaml, with_extensions


@click.command(name="config")
@click.argument("services", nargs=-1)
@project_options
@click.option("--format", "output_format", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("-q", "--quiet", is_flag=True, help="Only check; print nothing.")
@click.option("--no-interpolate", is_flag=True, help="Leave variables as they are written.")
@click.option("--services", "list_services", is_flag=True, help="Print the names of the services.")
@click.option("--images", "list_images", is_flag=True, help="Print the images.")
@click.option("--volumes", "list_volumes", is_flag=True, help="Print the names of the volumes.")
@click.option("--profiles", "list_profiles", is_flag=True, help="Print the names of the profiles.")
@click.option("--variables", "list_variables", is_flag=True, help="Print the variables and their defaults.")
@click.option("--hash", "hashed", metavar="SERVICE[,…]", help="Print the hash of services; '*' is all.")
def command(
    services: tuple[str, ...],
    output_format: str,
    as_json: bool,
    quiet: bool,
    no_interpolate: bool,
    list_services: bool,
    list_images: bool,
    list_volumes: bool,
    list_profiles: bool,
    list_variables: bool,
    hashed: str | None,
    **_project: object,
) -> None:
    """Check the Compose files and print the project in canonical form."""
    options = load_options()
    as_json = as_json or output_format == "json"
    if list_variables or no_interpolate:
        text, warnings = _unsubstituted(options, as_json, list_variables)
    elif list_services or list_images or list_volumes or list_profiles or hashed:
        tree = load_tree(options, environment_files=False)
        text, warnings = _listing(tree, list_services, list_volumes, list_profiles, hashed), tree.warnings
    else:
        tree = load_tree(options, services)
        text = to_json(canonical(tree)) if as_json else to_yaml(with_extensions(tree))
        warnings = tree.warnings
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    if text and not quiet:
        click.echo(text.removesuffix("\n").encode("utf-8", "surrogateescape"))


def _unsubstituted(options: LoadOptions, as_json: bool, variables: bool) -> tuple[str, tuple[str, ...]]:
    model, warnings = load_model_tree(options)
    if not variables:
        text = to_json(model, escape_dollar=False) if as_json else to_yaml(model, escape_dollar=False)
        return text, warnings
    from fairlead.spec.variables import variables_of

    found = variables_of(model)
    if as_json:
        return to_json([variable.to_json() for variable in found], escape_dollar=False), warnings
    rows = [("NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"), *(variable.row() for variable in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines), warnings


def _listing(tree: Tree, services: bool, volumes: bool, profiles: bool, hashed: str | None) -> str:
    shown = tree.canonical
    if services:
        lines = sorted(shown["services"])
    elif volumes:
        lines = sorted(shown.get("volumes", {}))
    elif hashed:
        names = sorted(shown["services"]) if hashed == "*" else sorted(hashed.split(","))
        lines = [f"{name} {service_hash(_service(tree, name))}" for name in names]
    elif profiles:
        lines = sorted({profile for service in tree.all_services.values() for profile in service.get("profiles", ())})
    else:
        lines = [image_name(name, service, tree.name) for name, service in shown["services"].items()]
    return "\n".join(lines)


def _service(tree: Tree, name: str) -> dict[str, object]:
    from fairlead.spec.report import unknown_service

    services = tree.canonical["services"]
    if name not in services:
        raise unknown_service(tree.name, name, services)
    return dict(services[name])
