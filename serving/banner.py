"""What a server says of itself once it takes requests."""

from rich.markup import escape

from serving import health
from serving.bootstrap import Services
from serving.console import out
from serving.version import version


def announce(services: Services, url: str) -> None:
    """Print address, arms, database and policy; what only stands in for something is said so."""
    out().print("\n".join(_lines(services, url)))


def _lines(services: Services, url: str) -> list[str]:
    settings = services.settings
    states = health.arms(services)
    where = "your DSN" if settings.database.dsn else f"embedded in {settings.database.data_dir}"
    keys = "none needed on this machine" if services.keys.open else "needed"
    lines = [f"[bold]Pointsman {version()}[/] is ready on [bold]{url}[/]"]
    lines += [_arm(services, name, states[name]) for name in services.arms]
    lines += [
        f"  database  Postgres, {escape(where)}",
        f"  policy    {services.holder.current.version}, scenario {settings.scenario}",
        f"  API keys  {keys}",
        *example(url, key_needed=not services.keys.open),
    ]
    return lines


def example(url: str, *, key_needed: bool) -> list[str]:
    """A first request, as a command to copy.

    Parameters
    ----------
    url
        Where the server listens; "everywhere" becomes this machine, as not every client takes it.
    """
    near = url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    body = '{"messages": [{"role": "user", "content": "Hello"}]}'
    key = ["              -H 'authorization: Bearer YOUR_KEY' \\"] if key_needed else []
    return [
        f"  try       curl {near}/v1/chat/completions -H 'content-type: application/json' \\",
        *key,
        f"              -d '{body}'",
    ]


def _arm(services: Services, name: str, state: dict[str, object]) -> str:
    spec = services.arms[name]
    kind = {arm.id: arm.backend for arm in services.settings.arms}[name]
    if spec.parts:
        edge, cloud = spec.parts
        return f"  {name:<9} {edge} first, then {cloud} if the gate says so"
    price = "[yellow]price unknown: cost is left out[/]"
    if spec.price.known:
        price = f"${spec.price.price_in:g} / ${spec.price.price_out:g} per M tokens"
    stands_in = "  [yellow]STAND-IN, not a model[/]" if kind == "stand_in" else ""
    well = "" if state["ok"] else f"  [red]{escape(str(state['detail']))}[/]"
    return f"  {name:<9} {escape(spec.model)}, {price}{stands_in}{well}"
