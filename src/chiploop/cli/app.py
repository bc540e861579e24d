"""The command `chiploop`: subcommands, and what becomes of errors."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from chiploop import __version__
from chiploop.cli import bench, doctor, explain, export, ls, map, measure, pack, report, run, serve, show, sweep
from chiploop.cli.console import BAD_INPUT, BROKEN_PIPE, BUG, INTERRUPTED, PLAIN, report_error
from chiploop.errors import ChiploopError

app = typer.Typer(
    name="chiploop",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _module in (run, sweep, ls, show, map, measure, explain, report, export, pack, bench, serve, doctor):
    app.command(_module.__name__.rpartition(".")[2], epilog=_module.EXAMPLES)(_module.command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"chiploop {__version__}")
        raise typer.Exit


@app.callback(
    epilog="Start with:\n\n  chiploop doctor\n\n  chiploop ls recipes\n\n  chiploop run demo\n\n"
    "Exit codes: 0 done; 1 the answer is no (map: does not fit; doctor: something fails); 2 bad input, one line says "
    "what; 130 interrupted, the same command goes on."
)
def chiploop(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Train spiking neural networks with the chip in the loop."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors become one line on stderr.

    With --json, stdout holds exactly one object whatever happens: the result, or {"error": "..."}.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=PLAIN)
    try:
        code = app(args=given, prog_name="chiploop", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except ChiploopError as error:
        return _report(str(error), BAD_INPUT, as_json)
    except BrokenPipeError:  # the reader, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _report(f"{error.strerror or error}{where}", BAD_INPUT, as_json)
    except MemoryError as error:
        message = f"out of memory: {error}; use smaller batches, fewer windows or fewer recordings"
        return _report(message, BAD_INPUT, as_json)
    except (KeyboardInterrupt, typer.Abort):
        return _report("interrupted", INTERRUPTED, as_json)
    except Exception as error:
        if hasattr(error, "format_message"):  # the parser's own, of whichever version of it
            message = error.format_message()
            return _report(_usage(message, given), BAD_INPUT, as_json) if message else BAD_INPUT  # empty: help is out
        if not {"--quiet", "-q"} & set(given):
            traceback.print_exc()
        return _report(f"{type(error).__name__}: {error} (a fault of chiploop, please report it)", BUG, as_json)


def _report(message: str, code: int, as_json: bool) -> int:
    report_error(message, as_json=as_json)
    return code


def _usage(message: str, given: list[str]) -> str:
    names = {command.name for command in app.registered_commands}
    command = next((f" {word}" for word in given if word in names), "")
    return f"{message.rstrip('.')} (see: chiploop{command} --help)"
